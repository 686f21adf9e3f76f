//! What must hold of the policy that `[acl]` names: it is there where somebody is asked for rights, and every line is
//! understood.

use super::{
    checks::blame_at,
    error::Problem,
    layers::{Layers, bare},
    options::{Config, keys},
    origin::Origin,
};

/// Notes what is wrong in `layers`. Blocking: reads the files.
pub(super) fn check(config: &Config, layers: &mut Layers<'_>) {
    let (policy, model, mode) = (keys::acl::policy, keys::acl::model, keys::acl::mode);
    if [policy, model, mode].into_iter().any(|key| layers.is_faulty(key)) {
        return;
    }
    let Some(files) = config.acl.files() else {
        if config.enforcement().is_some() {
            let values = [
                (mode, bare(&config.acl.mode)),
                (policy, bare(&config.acl.policy)),
                (keys::tls::certificate, bare(&config.tls.certificate)),
            ];
            // Certificates are right as they are, so nothing is said of the line that names them.
            let place = match layers.origin(mode) {
                Origin::Default => policy,
                Origin::File { .. } | Origin::Environment { .. } => mode,
            };
            blame_at(layers, place, &values, Problem::NoPolicy { policy }, || {
                format!(
                    "set {policy} to a file such as config/acl/policy.csv, or {mode} = \"off\" to let everybody with a \
                     certificate do everything"
                )
            });
        }
        return;
    };
    // Also where it is not in force: it comes into force some day.
    if let Err(error) = files.open() {
        let key = if error.is_of_model(&files) { model } else { policy };
        let help = error.remedy();
        layers.report(key, Problem::Policy { key, error }, Vec::new(), help);
    }
}

/// A policy that somebody wrote and nobody is held to.
pub(super) fn warning(config: &Config) -> Option<String> {
    let idle = config.acl.policy.is_some() && config.enforcement().is_none();
    idle.then(|| {
        format!(
            "{} is set and not in force: {} is {}{}",
            keys::acl::policy,
            keys::acl::mode,
            bare(&config.acl.mode),
            match config.tls.files() {
                Some(_) => "",
                None => ", and without [tls] nobody says who they are",
            }
        )
    })
}
