//! The policy of a node: asked by every request, replaced while it runs.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    error::AclError,
    model::Model,
    rules::{Decision, Rules},
    subject::Who,
    words::{Right, Wanted},
};

/// Subjects whose decisions are remembered; with one more, all are forgotten. Each is one that a certificate of this cluster's
/// authority names, so that nobody fills it at will.
const KNOWN_MAX: usize = 4096;

/// Decides by the policy in force. Cheap to clone; clones are one.
///
/// A decision that was made before costs one look-up, and waits for no lock.
#[derive(Clone, Debug)]
pub struct Acl {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    in_force: ArcSwap<InForce>,
    /// Counts policies that came into force.
    changes: watch::Sender<u64>,
    /// Counts texts that were to come into force and were wrong.
    failures: AtomicU64,
}

/// How the policy of a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclStatus {
    /// Lines that grant or deny something.
    pub rules: usize,
    /// How often another policy came into force.
    pub reloads: u64,
    /// How often one did not, since it was wrong.
    pub failures: u64,
}

/// A policy, and what it was asked so far. Both go together, so that no decision outlives its policy.
#[derive(Debug)]
struct InForce {
    model: Model,
    text: Vec<u8>,
    rules: Rules,
    known: ArcSwap<HashMap<Box<str>, Arc<Known>>>,
    /// Asked once for each change of a cursor, which is far more work.
    cursors: Mutex<KnownOnCursors>,
}

/// The decisions about a subject, each once it was asked for.
type Known = [OnceLock<Decision>; Right::ALL.len()];

/// The decisions about subjects and cursors.
type KnownOnCursors = HashMap<(Box<str>, Box<str>), Decision>;

/// What became of a policy that was to come into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It is in force.
    Yes {
        /// Lines that grant or deny something.
        rules: usize,
    },
    /// It says what the one in force says.
    No,
}

impl InForce {
    fn new(model: Model, name: &str, text: &[u8]) -> Result<Self, AclError> {
        Ok(Self {
            rules: Rules::new(&model, name, text)?,
            model,
            text: text.to_owned(),
            known: ArcSwap::default(),
            cursors: Mutex::default(),
        })
    }

    fn decide(&self, who: Who<'_>, right: Right) -> Decision {
        if !who.may_be_meant() {
            return Decision::DENIED;
        }
        let decide = || self.rules.decide(who, &right.into());
        if let Some(known) = self.known.load().get(who.as_str()) {
            return known[right.index()].get_or_init(decide).clone();
        }
        let known = Arc::new(Known::default());
        self.known.rcu(|all| {
            let mut all = HashMap::clone(all);
            if all.len() >= KNOWN_MAX {
                all.clear();
            }
            all.insert(who.as_str().into(), Arc::clone(&known));
            all
        });
        known[right.index()].get_or_init(decide).clone()
    }
}

impl InForce {
    fn decide_on_cursor(&self, who: Who<'_>, cursor: &str) -> Decision {
        let asked = (who.as_str().into(), cursor.into());
        if let Some(known) = self.cursors.lock().get(&asked) {
            return known.clone();
        }
        let decision = self.rules.decide(who, &Wanted::Cursor(cursor.into()));
        let mut cursors = self.cursors.lock();
        if cursors.len() >= KNOWN_MAX {
            cursors.clear();
        }
        cursors.insert(asked, decision.clone());
        decision
    }
}

impl Acl {
    /// With a model and the text of a policy; `name` is what mistakes call it.
    ///
    /// Errors: everything that is wrong with the policy.
    pub fn new(model: Model, name: &str, policy: &[u8]) -> Result<Self, AclError> {
        let in_force = InForce::new(model, name, policy)?;
        let shared = Shared {
            in_force: ArcSwap::from_pointee(in_force),
            changes: watch::Sender::new(0),
            failures: AtomicU64::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether they may, by the policy in force.
    ///
    /// Blocking: computes when it was not asked before, some 0.4 us for each line of the policy.
    #[must_use]
    pub fn decide(&self, who: Who<'_>, right: Right) -> Decision {
        self.shared.in_force.load().decide(who, right)
    }

    /// Whether they may take the cursor of that name, and commit to it, by the policy in force.
    ///
    /// Blocking: as [`Acl::decide`].
    #[must_use]
    pub fn decide_on_cursor(&self, who: Who<'_>, cursor: &str) -> Decision {
        self.shared.in_force.load().decide_on_cursor(who, cursor)
    }

    /// Whether they may, whatever it is.
    ///
    /// Blocking: as [`Acl::decide`].
    #[must_use]
    pub fn decide_on(&self, who: Who<'_>, wanted: &Wanted) -> Decision {
        match wanted {
            Wanted::Right(right) => self.decide(who, *right),
            Wanted::Cursor(name) => self.decide_on_cursor(who, name),
        }
    }

    /// Puts another policy in force, with the model there is, and forgets every decision.
    ///
    /// Errors: everything that is wrong with it; the one in force stays.
    pub fn reload(&self, name: &str, policy: &[u8]) -> Result<Changed, AclError> {
        let model = self.shared.in_force.load().model.clone();
        self.reload_with(model, name, policy)
    }

    /// As [`Acl::reload`], with another model too.
    ///
    /// Errors: everything that is wrong with the policy.
    pub fn reload_with(&self, model: Model, name: &str, policy: &[u8]) -> Result<Changed, AclError> {
        {
            let in_force = self.shared.in_force.load();
            if in_force.text == policy && in_force.model == model {
                return Ok(Changed::No);
            }
        }
        let next = InForce::new(model, name, policy)?;
        let rules = next.rules.len();
        self.shared.in_force.store(Arc::new(next));
        // After the policy: who hears of it asks by the new one.
        self.shared.changes.send_modify(|changes| *changes += 1);
        Ok(Changed::Yes { rules })
    }

    /// Notes that a policy was to come into force and was wrong, or could not be read.
    pub fn note_failure(&self) {
        self.shared.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> AclStatus {
        AclStatus {
            rules: self.shared.in_force.load().rules.len(),
            reloads: *self.shared.changes.borrow(),
            failures: self.shared.failures.load(Ordering::Relaxed),
        }
    }

    /// Changes whenever another policy is in force.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Who<'static> = Who::Named("annals://orders/client/app");

    fn acl(text: &str) -> Acl {
        Acl::new(Model::built_in(), "policy.csv", text.as_bytes()).unwrap()
    }

    fn known(acl: &Acl) -> usize {
        acl.shared.in_force.load().known.load().len()
    }

    #[test]
    fn a_decision_is_made_once_and_forgotten_with_its_policy() {
        let acl = acl("p, annals://orders/client/app, log, produce\n");
        let decided = |acl: &Acl| {
            let known = acl.shared.in_force.load().known.load_full();
            let of_app = known.get(APP.as_str()).unwrap();
            of_app.iter().filter(|decision| decision.get().is_some()).count()
        };
        assert!(acl.decide(APP, Right::PRODUCE).allowed);
        assert!(acl.decide(APP, Right::PRODUCE).allowed);
        assert_eq!((known(&acl), decided(&acl)), (1, 1));
        assert!(!acl.decide(APP, Right::CONSUME).allowed);
        assert_eq!((known(&acl), decided(&acl)), (1, 2));

        let changed = acl.reload("policy.csv", b"p, annals://orders/client/app, log, consume\n");
        assert_eq!(changed, Ok(Changed::Yes { rules: 1 }));
        assert_eq!(known(&acl), 0);
        assert!(!acl.decide(APP, Right::PRODUCE).allowed);
        assert!(acl.decide(APP, Right::CONSUME).allowed);
    }

    #[test]
    fn decisions_about_cursors_are_bounded_and_forgotten_with_their_policy() {
        let acl = acl("p, annals://orders/client/app, cursor/a, consume\n");
        let remembered = |acl: &Acl| acl.shared.in_force.load().cursors.lock().len();
        for _ in 0..2 {
            assert!(acl.decide_on_cursor(APP, "a").allowed);
            assert!(!acl.decide_on_cursor(APP, "b").allowed);
        }
        assert!(!acl.decide_on_cursor(Who::Anonymous, "a").allowed);
        assert_eq!(remembered(&acl), 3);
        for number in 0..KNOWN_MAX {
            assert!(!acl.decide_on_cursor(APP, &number.to_string()).allowed);
        }
        assert!(remembered(&acl) <= KNOWN_MAX);
        acl.reload(
            "policy.csv",
            b"p, annals://orders/client/app, cursor/b, consume\n",
        )
        .unwrap();
        assert!(!acl.decide_on_cursor(APP, "a").allowed);
        assert!(acl.decide_on_cursor(APP, "b").allowed);
    }

    #[test]
    fn who_waits_for_another_policy_hears_of_it_and_of_nothing_else() {
        let acl = acl("p, app, log, produce\n");
        let mut changes = acl.clone().changes();
        assert_eq!(
            acl.reload("policy.csv", b"p, app, log, produce\n"),
            Ok(Changed::No)
        );
        assert!(acl.reload("policy.csv", b"p, app, log, write\n").is_err());
        assert!(!changes.has_changed().unwrap());
        assert!(
            acl.decide(Who::Named("app"), Right::PRODUCE).allowed,
            "the old one stays"
        );
        acl.reload("policy.csv", b"p, app, log, consume\n").unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let plain = super::super::BUILT_IN_MODEL.replace("g(r.sub, p.sub)", "r.sub == p.sub");
        let model = Model::parse("model.conf", plain.as_bytes()).unwrap();
        acl.reload_with(model, "policy.csv", b"p, app, log, consume\n")
            .unwrap();
        assert!(changes.has_changed().unwrap());
    }

    #[test]
    fn the_number_of_subjects_remembered_is_bounded() {
        let acl = acl("p, *, log, produce\n");
        for number in 0..KNOWN_MAX + 10 {
            let subject = format!("annals://orders/client/{number}");
            assert!(acl.decide(Who::Named(&subject), Right::PRODUCE).allowed);
            assert!(known(&acl) <= KNOWN_MAX);
        }
        // Who cannot be meant takes no place.
        let before = known(&acl);
        assert!(!acl.decide(Who::Named("role:x"), Right::PRODUCE).allowed);
        assert_eq!(known(&acl), before);
    }
}
