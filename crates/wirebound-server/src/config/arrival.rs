//! What becomes of those who come from another site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[arrival]`: links and forms of other sites.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Arrival {
    /// Whether a link from another site arrives signed in although our cookie is `Strict`: the first answer is then a
    /// page that loads itself again. It makes `Strict` behave like `Lax` for links, and costs each visitor who comes by
    /// one, signed in or not, one more exchange.
    pub bounce: bool,
    /// The exact paths where a form that another site posts is posted again from here, so that it arrives with the
    /// session: `["/saml/acs"]`. There the app itself must tell a wanted form from a forged one, as a signed SAML answer
    /// lets it. Anywhere else such a form is refused as `csrf_surprise`.
    pub cross_site_post: Vec<String>,
}

impl Default for Arrival {
    fn default() -> Self {
        Self {
            bounce: true,
            cross_site_post: Vec::new(),
        }
    }
}
