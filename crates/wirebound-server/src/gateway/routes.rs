//! What a path asks for: the longest prefix with a rule, in whole segments, decides. And which paths are listed.

use std::sync::Arc;

use wirebound::{Need, Strength};
use wirebound_tower::gate::Needs;
use wirebound_tower::tree::{Listed, Tree};

use crate::config::{Route, role_named};

pub(super) fn needs(routes: &[Route]) -> Needs {
    let mut rules: Vec<(String, Need)> = routes
        .iter()
        .map(|route| (route.path.clone(), need(route)))
        .collect();
    rules.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
    Arc::new(move |parts| of(&rules, parts.uri.path()))
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
    let covers = |prefix: &str| {
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    rules
        .iter()
        .find(|(prefix, _)| covers(prefix))
        .map_or(Need::NOTHING, |(_, need)| *need)
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
        let mut rules: Vec<_> = routes
            .iter()
            .map(|route| (route.path.clone(), need(route)))
            .collect();
        rules.sort_by_key(|(path, _)| core::cmp::Reverse(path.len()));
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
            assert_eq!(of(&rules, path), expected, "{path}");
        }
    }
}
