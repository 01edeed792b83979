//! What a path asks for: the longest prefix with a rule, in whole segments, decides. And which paths are listed.
//!
//! A path that servers read in several ways asks for the most that any reading asks for (`hygiene/readings.rs`).

use std::sync::Arc;

use wirebound::{Need, Strength};
use wirebound_tower::gate::{Needs, Scopes};
use wirebound_tower::tree::{Listed, Tree};

use crate::config::{Route, role_named};
use crate::hygiene::readings;

pub(super) fn needs(routes: &[Route]) -> Needs {
    let rules = Rules::of(routes);
    Arc::new(move |parts| rules.need(parts.uri.path()))
}

/// Which scopes of an API key a path asks for, by the same prefixes: those of every reading of the path. One that is for
/// machines in any reading is for machines.
pub(super) fn scopes(routes: &[Route]) -> Scopes {
    if routes.iter().all(|route| route.scope.is_none()) {
        return Arc::new(|_| Vec::new());
    }
    let sorted = |written: fn(&Route) -> String| {
        let mut rules: Vec<(String, Option<Arc<str>>)> = routes
            .iter()
            .map(|route| (written(route), route.scope.as_deref().map(Arc::from)))
            .collect();
        rules.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
        rules
    };
    let as_written = sorted(|route| route.path.clone());
    let careless = sorted(|route| readings::careless(&route.path));
    Arc::new(move |parts| {
        let path = parts.uri.path();
        let further = readings::further(path);
        let readings = further.iter().flat_map(readings::Further::each);
        let asked = readings
            .chain([path])
            .map(|reading| covering(&careless, reading));
        let mut asked: Vec<Arc<str>> = asked
            .chain([covering(&as_written, path)])
            .filter_map(|scope| scope.cloned().flatten())
            .collect();
        asked.sort();
        asked.dedup();
        asked
    })
}

/// The rules, longest prefix first.
struct Rules {
    as_written: Vec<(String, Need)>,
    careless: Vec<(String, Need)>,
    /// Whether both lists are the same: then a path with one reading is looked up once.
    plain: bool,
}

impl Rules {
    fn of(routes: &[Route]) -> Self {
        let sorted = |written: fn(&Route) -> String| {
            let mut rules: Vec<_> = routes
                .iter()
                .map(|route| (written(route), need(route)))
                .collect();
            rules.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
            rules
        };
        let as_written = sorted(|route| route.path.clone());
        let careless = sorted(|route| readings::careless(&route.path));
        let plain = as_written
            .iter()
            .zip(&careless)
            .all(|((written, _), (careless, _))| written == careless);
        Self {
            as_written,
            careless,
            plain,
        }
    }

    fn need(&self, path: &str) -> Need {
        let mut most = of(&self.as_written, path);
        if let Some(further) = readings::further(path) {
            for reading in further.each() {
                most = stronger(most, of(&self.careless, reading));
            }
        } else if !self.plain {
            most = stronger(most, of(&self.careless, path));
        }
        most
    }
}

/// What asks for as much as both.
fn stronger(one: Need, other: Need) -> Need {
    Need {
        role: one.role.max(other.role),
        strength: one.strength.max(other.strength),
    }
}

/// The paths that the operator listed, in the order of the file.
pub(super) fn tree(routes: &[Route]) -> Tree {
    let listed = routes
        .iter()
        .filter(|route| route.listed)
        .map(|route| Listed {
            path: route.path.clone(),
            title: route.title.clone().unwrap_or_else(|| route.path.clone()),
            need: need(route),
        });
    Tree::new(listed.collect())
}

fn need(route: &Route) -> Need {
    if route.public {
        return Need::NOTHING;
    }
    Need {
        role: route.role.as_deref().and_then(role_named),
        strength: route.strength.map(Strength::from),
    }
}

fn of(rules: &[(String, Need)], path: &str) -> Need {
    covering(rules, path).copied().unwrap_or(Need::NOTHING)
}

/// What the first rule says that covers a path.
fn covering<'r, T>(rules: &'r [(String, T)], path: &str) -> Option<&'r T> {
    let covers = |prefix: &str| {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    rules
        .iter()
        .find_map(|(prefix, rule)| covers(prefix).then_some(rule))
}

#[cfg(test)]
mod tests {
    use wirebound::Role;

    use super::*;
    use crate::config::LeastStrength;

    #[test]
    fn the_longest_prefix_in_whole_segments_decides() {
        let mut open = Route::new("/admin/help");
        open.public = true;
        let routes = [
            Route::new("/admin").at_least("admin", LeastStrength::Wire),
            open,
        ];
        let rules = Rules::of(&routes);
        let admin = Need {
            role: Some(Role::ADMIN),
            strength: Some(Strength::Wire),
        };
        for (path, expected) in [
            ("/admin", admin),
            ("/admin/", admin),
            ("/admin/users", admin),
            ("/admin/help", Need::NOTHING),
            ("/admin/help/me", Need::NOTHING),
            ("/admin/helpers", admin),
            ("/administrator", Need::NOTHING),
            ("/", Need::NOTHING),
        ] {
            assert_eq!(rules.need(path), expected, "{path}");
        }
    }

    #[test]
    fn every_reading_of_a_path_asks_for_its_scope() {
        let rule = |path: &str, scope: &str| {
            let mut route = Route::new(path);
            route.scope = Some(scope.to_owned());
            route
        };
        let scopes = scopes(&[rule("/api", "read"), rule("/api/admin", "write")]);
        let asked = |path: &str| {
            let (parts, ()) = http::Request::get(path).body(()).unwrap().into_parts();
            scopes(&parts)
        };
        let one = |scope: &str| vec![Arc::<str>::from(scope)];
        assert_eq!(asked("/api/a"), one("read"));
        assert_eq!(asked("/api/admin"), one("write"));
        assert_eq!(asked("/other"), Vec::<Arc<str>>::new());
        for path in [
            "/api/%61dmin",
            "/api/ADMIN",
            "/API/Admin/x",
            "/api/admin.",
            "/api/admin%3fx",
        ] {
            assert!(asked(path).contains(&"write".into()), "{path}");
        }
    }

    #[test]
    fn every_reading_of_a_path_is_judged() {
        let admin = Route::new("/admin").at_least("admin", LeastStrength::Wire);
        let asked = need(&admin);
        let mut open = Route::new("/Public");
        open.public = true;
        let rules = Rules::of(&[
            Route::new("/").at_least("user", LeastStrength::Wire),
            open,
            admin,
        ]);
        for path in [
            "/admin",
            "/%61dmin/users",
            "/ADMIN",
            "/Admin.",
            "/admin%20/x",
            "/admin%3fx",
            "/Admin%23.css",
        ] {
            assert_eq!(rules.need(path), asked, "{path}");
        }
        assert_eq!(rules.need("/Public/a"), Need::NOTHING);
        // Public in one reading only: a server that minds case serves something else there.
        for path in ["/public/a", "/PUBLIC/a", "/%50ublic/a"] {
            assert_eq!(rules.need(path).role, Some(Role::USER), "{path}");
        }
    }
}
