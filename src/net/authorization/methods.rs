//! Which right each method asks for.

use crate::acl::Right;

/// A method of the port of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its path: `/package.Service/Method`.
    pub path: &'static str,
    /// What it takes.
    pub need: Need,
    /// It may go on for long, so that it is asked about again.
    pub stream: bool,
}

/// What a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing but a connection.
    Nothing,
    /// A right.
    Right(Right),
    /// That right, and then the cursor that its message names: the service asks once it has read that (`named.rs`).
    Cursor(Right),
}

const fn call(path: &'static str, right: Right) -> Method {
    Method {
        path,
        need: Need::Right(right),
        stream: false,
    }
}

const fn on_cursor(path: &'static str) -> Method {
    Method {
        path,
        need: Need::Cursor(Right::CONSUME),
        stream: false,
    }
}

const fn stream(path: &'static str, right: Right) -> Method {
    Method {
        path,
        need: Need::Right(right),
        stream: true,
    }
}

/// Every method there is, the most used ones first. A test holds it against the descriptors, so that a method which is new in
/// a proto is not forgotten here.
const METHODS: [Method; 27] = [
    call("/annals.v1.LogService/Produce", Right::PRODUCE),
    call("/annals.v1.LogService/Consume", Right::CONSUME),
    call("/log.v1.Log/Produce", Right::PRODUCE),
    call("/log.v1.Log/Consume", Right::CONSUME),
    stream("/annals.v1.LogService/ProduceStream", Right::PRODUCE),
    stream("/annals.v1.LogService/ConsumeStream", Right::CONSUME),
    stream("/log.v1.Log/ProduceStream", Right::PRODUCE),
    stream("/log.v1.Log/ConsumeStream", Right::CONSUME),
    call("/annals.v1.LogService/DescribeLog", Right::DESCRIBE_LOG),
    on_cursor("/annals.v1.CursorService/Commit"),
    on_cursor("/annals.v1.CursorService/Take"),
    // Names and offsets, and no record.
    call("/annals.v1.CursorService/Get", Right::DESCRIBE_LOG),
    call("/annals.v1.CursorService/List", Right::DESCRIBE_LOG),
    // Whoever it belongs to: where they were is not known any more.
    call("/annals.v1.CursorService/Delete", Right::ADMIN_LOG),
    // What `GetServers` says is the cluster's, whichever log it stands beside.
    call("/log.v1.Log/GetServers", Right::DESCRIBE_CLUSTER),
    call("/annals.v1.ClusterService/GetCluster", Right::DESCRIBE_CLUSTER),
    stream("/annals.v1.ClusterService/WatchCluster", Right::DESCRIBE_CLUSTER),
    call(
        "/annals.v1.ClusterService/GetSupervisionTree",
        Right::DESCRIBE_CLUSTER,
    ),
    call("/annals.v1.ClusterService/AddServer", Right::ADMIN_CLUSTER),
    call("/annals.v1.ClusterService/RemoveServer", Right::ADMIN_CLUSTER),
    call("/annals.v1.ClusterService/TransferLeader", Right::ADMIN_CLUSTER),
    call("/annals.v1.ClusterService/Leave", Right::ADMIN_CLUSTER),
    // Records go for good: a right on the log, not on the cluster.
    call("/annals.v1.ClusterService/Trim", Right::ADMIN_LOG),
    // Load balancers ask, and learn no more than by connecting.
    Method {
        path: "/grpc.health.v1.Health/Check",
        need: Need::Nothing,
        stream: false,
    },
    Method {
        path: "/grpc.health.v1.Health/Watch",
        need: Need::Nothing,
        stream: true,
    },
    stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        Right::DESCRIBE_SERVER,
    ),
    stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Right::DESCRIBE_SERVER,
    ),
];

/// The method of that path, letter by letter; `None` where there is none.
#[must_use]
pub fn method_of(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// Path and whether either side streams, of every method in the descriptors that are served.
    fn served() -> BTreeMap<String, bool> {
        let sets = [
            crate::proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut methods = BTreeMap::new();
        for file in sets
            .iter()
            .flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file)
        {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    methods.insert(path, method.client_streaming() || method.server_streaming());
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_that_is_served_asks_for_a_right_and_none_else_is_there() {
        let known: BTreeMap<String, bool> = METHODS
            .iter()
            .map(|method| (method.path.to_owned(), method.stream))
            .collect();
        assert_eq!(known, served());
        assert_eq!(known.len(), METHODS.len(), "a path is there twice");
    }

    #[test]
    fn only_health_is_for_everybody() {
        let for_everybody = METHODS.iter().filter(|method| method.need == Need::Nothing);
        let paths: Vec<&str> = for_everybody.map(|method| method.path).collect();
        assert_eq!(
            paths,
            ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]
        );
    }

    #[test]
    fn what_only_looks_like_a_method_is_none() {
        assert!(method_of("/log.v1.Log/Produce").is_some());
        for path in [
            "",
            "/",
            "/log.v1.Log/produce",
            "/log.v1.Log/Produce/",
            "//log.v1.Log/Produce",
            "log.v1.Log/Produce",
            "/log.v1.Log/Produc%65",
            "/annals.v1.PeerService/Append",
            "/grpc.health.v1.Health/List",
        ] {
            assert_eq!(method_of(path), None, "{path}");
        }
    }
}
