//! A policy in force: Casbin, with its model and its lines.

use std::{fmt, sync::Arc};

use casbin::{CoreApi, Enforcer, MemoryAdapter, MgmtApi};
use futures::FutureExt;
use parking_lot::{Mutex, RwLock};

use super::{
    effects::{Decisive, Effects},
    error::{AclError, Mistake, Problem},
    model::Model,
    policy::{self, Line, Policy},
    roles::Roles,
    subject::Who,
    words::Wanted,
};

/// The line of a policy that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number in the file, from 1.
    pub line: usize,
    /// As it stands there.
    pub text: Arc<str>,
}

/// May they?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether.
    pub allowed: bool,
    /// By which line; `None` where no line allows it, and none denies it.
    pub rule: Option<Rule>,
}

impl Decision {
    /// What is not allowed is denied.
    pub const DENIED: Self = Self {
        allowed: false,
        rule: None,
    };
}

/// Decides; remembers nothing.
pub(super) struct Rules {
    /// With what notes the line that decides, so that one asks at a time.
    enforcer: Mutex<(Enforcer, Arc<Decisive>)>,
    /// In Casbin's order.
    rules: Vec<Rule>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rules({})", self.rules.len())
    }
}

impl Rules {
    /// Of a policy's text; `name` is what mistakes call it.
    ///
    /// Errors: everything that is wrong with it. Blocking: computes for a few milliseconds where there are thousands of lines.
    pub(super) fn new(model: &Model, name: &str, text: &[u8]) -> Result<Self, AclError> {
        let policy = policy::parse(name, text, model.has_effects())?;
        let refused = |what: String| AclError::new(name, vec![Mistake::of_whole(Problem::Casbin { what })]);
        let decisive = Arc::new(Decisive::default());
        // Its functions are asynchronous for adapters that wait for something; this one never does.
        let enforcer = enforcer(model, &policy, &decisive)
            .now_or_never()
            .ok_or_else(|| refused("it waits for something".to_owned()))?
            .map_err(|error| refused(error.to_string()))?;
        let rule = |line: Line| Rule {
            line: line.number,
            text: line.text.into(),
        };
        Ok(Self {
            enforcer: Mutex::new((enforcer, decisive)),
            rules: policy.grants.into_iter().map(rule).collect(),
        })
    }

    /// How many lines grant or deny something.
    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether they may, by every line there is.
    ///
    /// Blocking: computes, some 0.4 us a line, while others wait.
    pub(super) fn decide(&self, who: Who<'_>, wanted: &Wanted) -> Decision {
        if !who.may_be_meant() {
            return Decision::DENIED;
        }
        let object = wanted.object();
        let request = (who.as_str(), &*object, wanted.action().as_str());
        let asked = self.enforcer.lock();
        let (enforcer, decisive) = &*asked;
        // An error can only be that of a model, and models are checked; where one comes all the same, nobody gets in.
        let Ok(allowed) = enforcer.enforce(request) else {
            return Decision::DENIED;
        };
        let rule = decisive.get().and_then(|index| self.rules.get(index)).cloned();
        Decision { allowed, rule }
    }
}

async fn enforcer(model: &Model, policy: &Policy, decisive: &Arc<Decisive>) -> casbin::Result<Enforcer> {
    let mut enforcer = Enforcer::new(model.to_casbin(), MemoryAdapter::default()).await?;
    enforcer.enable_auto_build_role_links(false);
    let fields = |lines: &[Line]| lines.iter().map(|line| line.fields.clone()).collect::<Vec<_>>();
    enforcer.add_policies(fields(&policy.grants)).await?;
    enforcer.add_grouping_policies(fields(&policy.links)).await?;
    enforcer.enable_auto_build_role_links(true);
    enforcer.set_role_manager(Arc::new(RwLock::new(Roles::default())))?;
    enforcer.set_effector(Box::new(Effects(Arc::clone(decisive))));
    Ok(enforcer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Right;

    fn rules(text: &str) -> Rules {
        Rules::new(&Model::built_in(), "policy.csv", text.as_bytes()).unwrap()
    }

    fn line_of(rules: &Rules, subject: &str, wanted: impl Into<Wanted>) -> (bool, Option<usize>) {
        let decision = rules.decide(Who::from_policy(subject), &wanted.into());
        (decision.allowed, decision.rule.map(|rule| rule.line))
    }

    #[test]
    fn what_no_line_allows_is_denied() {
        let rules = rules("p, app, log, produce\n");
        assert_eq!(line_of(&rules, "app", Right::PRODUCE), (true, Some(1)));
        for (subject, right) in [
            ("app", Right::CONSUME),
            ("app", Right::ADMIN_CLUSTER),
            ("app2", Right::PRODUCE),
            ("ap", Right::PRODUCE),
            ("anonymous", Right::PRODUCE),
            ("", Right::PRODUCE),
        ] {
            assert_eq!(
                line_of(&rules, subject, right),
                (false, None),
                "{subject} {right}"
            );
        }
    }

    #[test]
    fn subjects_are_matched_whole_by_their_beginning_and_by_their_roles() {
        let rules = rules(
            "p, annals://orders/client/*, log, describe\n\
             p, role:producer, log, produce\n\
             p, role:all, *, *\n\
             p, *, server, describe\n\
             g, annals://orders/client/app, role:producer\n\
             g, annals://orders/node/*, role:trusted\n\
             g, role:trusted, role:all\n",
        );
        let app = "annals://orders/client/app";
        assert_eq!(line_of(&rules, app, Right::DESCRIBE_LOG), (true, Some(1)));
        assert_eq!(line_of(&rules, app, Right::PRODUCE), (true, Some(2)));
        assert_eq!(line_of(&rules, app, Right::CONSUME), (false, None));
        assert_eq!(
            line_of(&rules, "annals://orders/node/node-0", Right::ADMIN_CLUSTER),
            (true, Some(3))
        );
        assert_eq!(
            line_of(&rules, "anonymous", Right::DESCRIBE_SERVER),
            (true, Some(4))
        );
        assert_eq!(
            line_of(&rules, "annals://other/client/app", Right::DESCRIBE_LOG),
            (false, None)
        );
    }

    #[test]
    fn a_line_that_denies_goes_before_all_that_allow_wherever_it_stands() {
        for text in [
            "p, app, log, produce, deny\np, *, *, *\n",
            "p, *, *, *\np, app, log, produce, deny\n",
        ] {
            let rules = rules(text);
            let denying = text
                .lines()
                .position(|line| line.ends_with("deny"))
                .map(|index| index + 1);
            assert_eq!(line_of(&rules, "app", Right::PRODUCE), (false, denying), "{text}");
            assert!(line_of(&rules, "app", Right::CONSUME).0);
            assert!(line_of(&rules, "other", Right::PRODUCE).0);
        }
    }

    #[test]
    fn cursors_are_matched_whole_and_by_their_beginning_and_no_other_right_gives_one() {
        let rules = rules(
            "p, app, log, *\n\
             p, app, cursor/app, consume\n\
             p, app, cursor/app-*, *\n\
             p, app, cursor/app-secret, consume, deny\n\
             p, all, cursor/*, consume\n\
             p, root, *, *\n",
        );
        let cursor = |name: &str| Wanted::Cursor(name.into());
        assert_eq!(line_of(&rules, "app", cursor("app")), (true, Some(2)));
        assert_eq!(line_of(&rules, "app", cursor("app-1")), (true, Some(3)));
        assert_eq!(line_of(&rules, "app", cursor("app-secret")), (false, Some(4)));
        for name in ["billing", "ap", "app2", "x-app"] {
            assert_eq!(line_of(&rules, "app", cursor(name)), (false, None), "{name}");
            assert_eq!(line_of(&rules, "all", cursor(name)), (true, Some(5)), "{name}");
            assert_eq!(line_of(&rules, "root", cursor(name)), (true, Some(6)), "{name}");
        }
        assert_eq!(line_of(&rules, "all", Right::CONSUME), (false, None));
    }

    #[test]
    fn a_certificate_that_claims_to_be_a_role_or_nobody_gets_nothing() {
        let rules = rules("p, role:operator, *, *\np, anonymous, *, *\n");
        assert!(rules.decide(Who::Anonymous, &Right::PRODUCE.into()).allowed);
        for subject in ["role:operator", "anonymous", "*", "app\n"] {
            let decision = rules.decide(Who::Named(subject), &Right::PRODUCE.into());
            assert_eq!(decision, Decision::DENIED, "{subject:?}");
        }
    }

    #[test]
    fn another_model_decides_otherwise() {
        let text = super::super::model::BUILT_IN_MODEL
            .replace("act, eft", "act")
            .replace(" && !some(where (p.eft == deny))", "")
            .replace("m = ", "m = r.act == \"describe\" && r.obj != \"log\" || ");
        let model = Model::parse("model.conf", text.as_bytes()).unwrap();
        let rules = Rules::new(&model, "policy.csv", b"p, app, log, produce").unwrap();
        assert_eq!(line_of(&rules, "app", Right::PRODUCE), (true, Some(1)));
        assert!(line_of(&rules, "other", Right::DESCRIBE_CLUSTER).0);
        assert!(!line_of(&rules, "other", Right::DESCRIBE_LOG).0);
        assert!(!line_of(&rules, "other", Right::CONSUME).0);
    }

    #[test]
    fn the_sample_policy_gives_each_of_its_roles_what_it_says() {
        let rules = rules(include_str!("../../config/acl/policy.csv"));
        let may = |name: &str| {
            let subject = format!("annals://annals/client/{name}");
            let mut rights = Right::ALL.to_vec();
            rights.retain(|right| rules.decide(Who::Named(&subject), &(*right).into()).allowed);
            rights
        };
        let describe = [Right::DESCRIBE_LOG, Right::DESCRIBE_CLUSTER];
        assert_eq!(may("orders-api"), [&[Right::PRODUCE], &describe[..]].concat());
        assert_eq!(may("billing"), [&[Right::CONSUME], &describe[..]].concat());
        let mut operator = Right::ALL.to_vec();
        operator.retain(|right| ![Right::PRODUCE, Right::CONSUME].contains(right));
        assert_eq!(may("operator"), operator);
        assert_eq!(may("other"), []);
    }
}
