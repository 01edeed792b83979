//! Asking the gateway about one token (RFC 7662): where the feed is silent.
//!
//! Only tokens whose signature was good get here, so a stranger makes no questions; and there is a bound to how many are
//! on their way at once, after which nobody can say.

use http::HeaderValue;
use serde::Deserialize;
use tokio::sync::Semaphore;
use wirebound_assertion::Claims;

use crate::reach::{Reach, Trouble, is_ok, is_type, show};

const PATH: &str = "/.wirebound/introspect";
/// Bytes of an answer.
const MOST: usize = 16 * 1024;
/// Questions on their way at once.
const AT_ONCE: usize = 64;

/// Asks with one API key.
#[derive(Debug)]
pub(crate) struct Asker {
    key: HeaderValue,
    at_once: Semaphore,
}

/// The part of an answer that counts here. All else was read from the token itself.
#[derive(Debug, Deserialize)]
struct Answer {
    active: bool,
    jti: Option<String>,
}

impl Asker {
    pub(crate) fn new(key: HeaderValue) -> Self {
        Self {
            key,
            at_once: Semaphore::new(AT_ONCE),
        }
    }

    /// Whether the gateway stands by this token, which says this.
    ///
    /// # Errors
    ///
    /// When it does not answer that question.
    pub(crate) async fn stands(
        &self,
        reach: &Reach,
        token: &str,
        claims: &Claims,
    ) -> Result<bool, Trouble> {
        let _permit = self.at_once.try_acquire().map_err(|_| Trouble::Busy)?;
        // A token whose signature was good has nothing in it that a form would encode.
        let mut request = reach.post(PATH, format!("token={token}"));
        show(request.as_mut(), &self.key);
        let (head, body) = reach.ask(request, MOST).await?;
        is_ok(head.status)?;
        is_type(&head.headers, &["application/json"])?;
        read(&body, claims)
    }
}

fn read(body: &[u8], claims: &Claims) -> Result<bool, Trouble> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| Trouble::Malformed)?;
    let another = answer.jti.is_some_and(|jti| jti != claims.id.to_string());
    if answer.active && another {
        // An answer about another token, by a cache or a mistake.
        return Err(Trouble::Malformed);
    }
    Ok(answer.active)
}

#[cfg(test)]
mod tests {
    use wirebound::{SessionId, Strength, Subject};
    use wirebound_assertion::{Seconds, SubjectTag, TokenId};

    use super::*;

    #[test]
    fn only_a_plain_yes_about_this_token_is_one() {
        let at = Seconds::new(1).unwrap();
        let claims = Claims {
            issuer: "https://a".to_owned(),
            audience: "b".to_owned(),
            subject: Subject::new(b"c").unwrap(),
            issued: at,
            not_before: at,
            expires: at.plus(1),
            id: TokenId::from_bytes([1; 16]),
            session: SessionId::from_bytes([2; 10]),
            role: "user".to_owned(),
            strength: Strength::Wire,
            generation: 0,
            tag: SubjectTag::from_bytes([3; 16]),
            confirmation: None,
        };
        let of = |text: &str| read(text.as_bytes(), &claims);
        let mine = format!(r#"{{"active":true,"jti":"{}","sub":"c"}}"#, claims.id);
        assert_eq!(of(&mine), Ok(true));
        assert_eq!(of(r#"{"active":true}"#), Ok(true));
        assert_eq!(of(r#"{"active":false}"#), Ok(false));
        for wrong in [
            r#"{"active":true,"jti":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
            r#"{"active":false,"active":true}"#,
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"[true]"#,
            "{}",
            "true",
            "",
        ] {
            assert_eq!(of(wrong), Err(Trouble::Malformed), "{wrong}");
        }
    }
}
