//! The resource tree: the paths that the operator listed, cut to what the asker may use.
//!
//! A listed path is exact and the operator's own text; nothing of what the app has or a client asked for gets in.

use serde_json::{Value, json};
use wirebound::{Need, Strength, Verified};

use crate::pages::Html;

/// One listed path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "configuration builds it")]
pub struct Listed {
    /// The path, as a link leads to it.
    pub path: String,
    /// What it is called; the path itself where nothing was said.
    pub title: String,
    /// What it asks for.
    pub need: Need,
}

/// All that is listed.
#[derive(Clone, Debug, Default)]
pub struct Tree(Vec<Listed>);

impl Tree {
    /// A tree of these paths, in this order.
    #[must_use]
    pub const fn new(listed: Vec<Listed>) -> Self {
        Self(listed)
    }

    /// What this person may use; nobody in particular gets what asks for nothing.
    pub fn usable_by<'a>(&'a self, who: Option<&'a Verified>) -> impl Iterator<Item = &'a Listed> {
        self.0.iter().filter(move |listed| match who {
            None => listed.need.is_nothing(),
            Some(who) => listed
                .need
                // What a role above `user` asks for was asked when it was given.
                .met_by(who.role(), who.role(), who.strength(), Strength::Bearer)
                .is_ok(),
        })
    }

    /// As markup, for a page of ours that a stranger sees.
    #[must_use]
    pub fn for_strangers(&self) -> Html {
        self.to_html(None)
    }

    /// As markup; nothing where nothing is listed.
    #[must_use]
    pub fn to_html(&self, who: Option<&Verified>) -> Html {
        let mut items = Html::new();
        for listed in self.usable_by(who) {
            items = items
                .tag("<li><a href=\"")
                .text(&listed.path)
                .tag("\">")
                .text(&listed.title)
                .tag("</a></li>\n");
        }
        if items.as_str().is_empty() {
            return items;
        }
        Html::new()
            .tag("<nav aria-label=\"Pages\"><ul>\n")
            .with(&items)
            .tag("</ul></nav>\n")
    }

    /// As a document for programs.
    #[must_use]
    pub fn to_json(&self, who: Option<&Verified>) -> Value {
        let routes: Vec<Value> = self
            .usable_by(who)
            .map(|listed| json!({ "path": listed.path, "title": listed.title }))
            .collect();
        json!({ "routes": routes })
    }
}

#[cfg(test)]
mod tests {
    use wirebound::Role;

    use super::*;

    fn tree() -> Tree {
        let listed = |path: &str, title: &str, role| Listed {
            path: path.to_owned(),
            title: title.to_owned(),
            need: Need {
                role,
                strength: None,
            },
        };
        Tree::new(vec![
            listed("/", "Home & all", None),
            listed("/members", "<Members>", Some(Role::USER)),
        ])
    }

    #[test]
    fn strangers_see_what_asks_for_nothing() {
        let text = tree().to_json(None).to_string();
        assert_eq!(text, r#"{"routes":[{"path":"/","title":"Home & all"}]}"#);
        let html = tree().for_strangers();
        assert!(html.as_str().contains("Home &amp; all"));
        assert!(!html.as_str().contains("embers"));
        assert_eq!(Tree::default().for_strangers(), Html::new());
    }
}
