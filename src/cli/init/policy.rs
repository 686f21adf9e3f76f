//! The policy of a new cluster: the roles of config/acl/policy.csv, one more that may do everything, and who has which.

use crate::certs::{Holder, Identity, Name};

/// A policy to start from, and its roles explained.
const SAMPLE: &str = include_str!("../../../config/acl/policy.csv");

/// What stands above the lines of it that are about clients.
const CLIENTS: &str = "# Who has which role.";

/// The policy, as text. `admin` may do everything, `app` may produce, consume with the cursor of its own name, and describe.
pub(super) fn text(cluster: &Name, admin: &Name, app: &Name) -> String {
    let (roles, _) = SAMPLE.split_once(CLIENTS).unwrap_or((SAMPLE, ""));
    let subject = |name| identity(cluster, name);
    let (admin, cursor, app) = (subject(admin), app, subject(app));
    format!(
        "{roles}\
         # May do everything.\n\
         p, role:admin, *, *\n\
         \n\
         {CLIENTS} `annals certs client NAME`, in this directory, makes the certificate of another one.\n\
         g, {admin}, role:admin\n\
         g, {app}, role:producer\n\
         g, {app}, role:consumer\n\
         p, {app}, cursor/{cursor}, consume\n"
    )
}

/// Who a client is, as its certificate says.
pub(super) fn identity(cluster: &Name, name: &Name) -> Identity {
    Identity {
        cluster: cluster.clone(),
        holder: Holder::Client(name.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Acl, Model, Right, Who};

    #[test]
    fn each_client_may_do_what_it_is_for_and_those_of_the_sample_nothing() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let text = text(&name("annals"), &name("root"), &name("app"));
        let acl = Acl::new(Model::built_in(), "policy.csv", text.as_bytes()).unwrap();
        let may = |client: &str| -> Vec<bool> {
            let subject = identity(&name("annals"), &name(client)).to_string();
            let who = Who::from_policy(&subject);
            let rights = Right::ALL.iter();
            rights.map(|right| acl.decide(who, *right).allowed).collect()
        };
        assert!(may("root").into_iter().all(|may| may));
        let wanted: Vec<bool> = Right::ALL
            .iter()
            .map(|right| {
                [
                    Right::PRODUCE,
                    Right::CONSUME,
                    Right::DESCRIBE_LOG,
                    Right::DESCRIBE_CLUSTER,
                ]
                .contains(right)
            })
            .collect();
        assert_eq!(may("app"), wanted);
        let app = identity(&name("annals"), &name("app")).to_string();
        let may_take = |cursor: &str| acl.decide_on_cursor(Who::from_policy(&app), cursor).allowed;
        assert!(may_take("app") && !may_take("billing"));
        for other in ["orders-api", "billing", "operator", "admin"] {
            assert!(!may(other).into_iter().any(|may| may), "{other}");
        }
    }
}
