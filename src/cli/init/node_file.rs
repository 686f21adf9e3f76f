//! The configuration of one node as a file for people: what is set, why, and what is to be changed on another machine.

use crate::config::{self, Config, Key, keys};

/// Options that are written although they are as by default, since people look for them.
const ALWAYS: [Key; 6] = [
    keys::node::name,
    keys::listen::rpc,
    keys::listen::admin,
    keys::acl::model,
    keys::cluster::name,
    keys::node::data_dir,
];

/// What is so for this file alone. A line that begins with "Elsewhere" says what to change for another machine.
const NOTES: [(Key, &str); 6] = [
    (
        keys::node::name,
        "Its certificate has the same name: another one needs another certificate, from `annals certs node NAME`.",
    ),
    (
        keys::node::data_dir,
        "Elsewhere: a directory on a local disk there.",
    ),
    (
        keys::listen::rpc,
        "Elsewhere: the machine's own address, which [tls] allows. The certificate must be good for the host by which clients know it.",
    ),
    (
        keys::listen::gossip,
        "Elsewhere: the machine's own address, which gossip_key_file allows.",
    ),
    (
        keys::cluster::name,
        "Its certificates and the policy have the same name.",
    ),
    (
        keys::cluster::seeds,
        "Elsewhere: what listen.gossip is on each node.",
    ),
];

/// The file. Every option that is not as by default is in it.
pub(super) fn text(config: &Config) -> String {
    let name = &config.node.name;
    let key_file = config.cluster.gossip_key_file.as_deref();
    let key_file = key_file.map_or(String::new(), |path| format!("{}, ", path.display()));
    let mut text = format!(
        "# {name} of the cluster {}, made by `annals init`; it is yours to change. What is not set here is as by default, and\n\
         # `annals config show --config FILE` has all of it. To run it on another machine, take there this file, policy.csv,\n\
         # {key_file}and of certs/ ca.pem, {name}.pem and {name}.key, then change what says \"Elsewhere\".\n",
        config.cluster.name.as_str()
    );
    let defaults = Config::default().values();
    let mut section = "";
    for ((option, value), (_, default)) in config.values().into_iter().zip(defaults) {
        if value == default && !ALWAYS.contains(&option) {
            continue;
        }
        if option.section != section {
            section = option.section;
            text += "\n";
            push_lines(&mut text, config::section_reason(section));
            text += &format!("[{section}]\n");
        }
        push_lines(&mut text, config::reason(option));
        for (_, note) in NOTES.iter().filter(|(noted, _)| *noted == option) {
            text += &format!("# {note}\n");
        }
        text += &format!("{} = {value}\n", option.name);
    }
    text
}

fn push_lines(text: &mut String, lines: Vec<&str>) {
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}
