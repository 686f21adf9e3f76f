//! What must hold of the files that `[tls]` names: they are there, fit together, and make this node the one that it is.

use crate::{
    clock,
    tls::{Material, MaterialFile, open_to_others},
};

use super::{
    checks::blame,
    error::Problem,
    layers::{Layers, bare},
    options::{Config, Key, keys},
};

/// Notes what is wrong in `layers`. Blocking: reads the files.
pub(super) fn check(config: &Config, layers: &mut Layers<'_>) {
    let tls = &config.tls;
    let all = [
        (keys::tls::certificate, &tls.certificate),
        (keys::tls::key, &tls.key),
        (keys::tls::authorities, &tls.authorities),
    ];
    if all.iter().any(|(key, _)| layers.is_faulty(*key)) {
        return;
    }
    let set = all.iter().find(|(_, path)| path.is_some());
    let missing = all.iter().find(|(_, path)| path.is_none());
    if let (Some((set, path)), Some((missing, _))) = (set, missing) {
        let problem = Problem::Incomplete {
            set: *set,
            missing: *missing,
        };
        let help = || format!("set {missing} too, or none of [tls]; `annals certs` makes all three files");
        blame(
            layers,
            &[(*set, bare(*path)), (*missing, "none".to_owned())],
            problem,
            help,
        );
        return;
    }
    let names_are_known = !layers.is_faulty(keys::cluster::name) && !layers.is_faulty(keys::node::name);
    let Some(files) = tls.files().filter(|_| names_are_known) else {
        return;
    };
    let material = files
        .read()
        .and_then(|contents| Material::of_node(&contents, &files, &config.node_names(), clock::wall()));
    if let Err(error) = material {
        let key = option_of(error.file);
        let help = error.remedy();
        layers.report(key, Problem::Tls { key, error }, Vec::new(), help);
    }
}

fn option_of(file: MaterialFile) -> Key {
    match file {
        MaterialFile::Certificate => keys::tls::certificate,
        MaterialFile::Key => keys::tls::key,
        MaterialFile::Authorities => keys::tls::authorities,
    }
}

/// What works and should not stay so. Blocking: looks at the files.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let key = config.tls.key.as_deref();
    // What cannot be looked at is an error elsewhere.
    let open = key.and_then(|key| open_to_others(key).ok().flatten().map(|mode| (key, mode)));
    let warning = open.map(|(key, mode)| {
        format!(
            "{}: {}: others may read or replace this private key (mode {mode:04o}); run `chmod 600` on it",
            keys::tls::key,
            key.display()
        )
    });
    warning.into_iter().collect()
}
