//! Every route there is, and which right it asks for.
//!
//! The gate, the answer to a request that fits none, `/openapi.json` and the tests of who may do what all stand on this table.

use http::Method as Verb;

use super::super::authorization::{Method, Need};
use crate::acl::Right;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To append a record, as the book does.
    ProduceRecord,
    /// To read a record, as the book does.
    ConsumeRecord,
    /// To append a batch.
    Produce,
    /// To read some records.
    Consume,
    /// To read on and on.
    Tail,
    /// How the cluster is.
    DescribeCluster,
    /// What there is to ask.
    DescribeApi,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What it is for.
    pub ask: Ask,
    /// The method of HTTP.
    pub verb: Verb,
    /// The path, letter by letter.
    pub path: &'static str,
    /// The parameters that its query may have.
    pub parameters: &'static [&'static str],
    /// What it takes to be let in.
    pub method: Method,
    /// In a few words, for those who have asked for something else.
    pub purpose: &'static str,
}

/// The routes: those of the book first.
pub static ROUTES: [Route; 7] = [
    Route {
        ask: Ask::ProduceRecord,
        verb: Verb::POST,
        path: "/",
        parameters: &[],
        method: needs("POST /", Right::PRODUCE),
        purpose: r#"appends a record: {"record": {"value": "BASE64"}}"#,
    },
    Route {
        ask: Ask::ConsumeRecord,
        verb: Verb::GET,
        path: "/",
        parameters: &["offset"],
        method: needs("GET /", Right::CONSUME),
        purpose: r#"reads a record: ?offset=N, or {"offset": N}"#,
    },
    Route {
        ask: Ask::Produce,
        verb: Verb::POST,
        path: "/v1/records",
        parameters: &["log", "key", "timestamp_ms"],
        method: needs("POST /v1/records", Right::PRODUCE),
        purpose: "appends a batch: JSON, NDJSON, or the bytes of one record",
    },
    Route {
        ask: Ask::Consume,
        verb: Verb::GET,
        path: "/v1/records",
        parameters: &[
            "log",
            "offset",
            "timestamp_ms",
            "count",
            "bytes",
            "end_offset",
            "wait",
            "level",
            "min_offset",
            "encoding",
        ],
        method: may_wait("GET /v1/records", Right::CONSUME),
        purpose: "reads records: ?offset=N&count=N&wait=5s",
    },
    Route {
        ask: Ask::Tail,
        verb: Verb::GET,
        path: "/v1/tail",
        parameters: &["log", "offset", "timestamp_ms", "level", "min_offset", "encoding"],
        method: may_wait("GET /v1/tail", Right::CONSUME),
        purpose: "follows the log by server-sent events: ?offset=N, or Last-Event-ID",
    },
    Route {
        ask: Ask::DescribeCluster,
        verb: Verb::GET,
        path: "/v1/cluster",
        parameters: &["local"],
        method: needs("GET /v1/cluster", Right::DESCRIBE_CLUSTER),
        purpose: "the nodes, and how each is",
    },
    Route {
        ask: Ask::DescribeApi,
        verb: Verb::GET,
        path: "/openapi.json",
        parameters: &[],
        method: needs("GET /openapi.json", Right::DESCRIBE_SERVER),
        purpose: "all this, for programs",
    },
];

/// A request that fits no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing has that path.
    Path,
    /// Something has, by another method.
    Verb,
}

/// All routes ask for rights.
const fn needs(name: &'static str, right: Right) -> Method {
    Method {
        path: name,
        need: Need::Right(right),
        stream: false,
    }
}

/// Of one that may go on for long, so that it is asked about again when a policy comes into force.
const fn may_wait(name: &'static str, right: Right) -> Method {
    Method {
        stream: true,
        ..needs(name, right)
    }
}

/// The route of a request: that of a HEAD is the GET's, whose head is asked for.
///
/// Errors: there is none.
pub fn find(verb: &Verb, path: &str) -> Result<&'static Route, NoRoute> {
    let verb = match verb {
        &Verb::HEAD => &Verb::GET,
        verb => verb,
    };
    let mut problem = NoRoute::Path;
    for route in ROUTES.iter().filter(|route| route.path == path) {
        if route.verb == verb {
            return Ok(route);
        }
        problem = NoRoute::Verb;
    }
    Err(problem)
}

/// The methods that a path answers to, as the header `allow` has them.
#[must_use]
pub fn allowed(path: &str) -> String {
    let routes = ROUTES.iter().filter(|route| route.path == path);
    let verbs = routes.map(|route| match route.verb {
        Verb::GET => "GET, HEAD",
        ref verb => verb.as_str(),
    });
    verbs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_letter_by_letter() {
        assert_eq!(find(&Verb::POST, "/").unwrap().ask, Ask::ProduceRecord);
        assert_eq!(find(&Verb::GET, "/v1/tail").unwrap().ask, Ask::Tail);
        assert_eq!(find(&Verb::HEAD, "/v1/tail").unwrap().ask, Ask::Tail);
        for path in ["", "//", "/v1/tail/", "/V1/tail", "/v1/tai%6c", "/v1"] {
            assert_eq!(find(&Verb::GET, path), Err(NoRoute::Path), "{path}");
        }
        assert_eq!(find(&Verb::DELETE, "/v1/records"), Err(NoRoute::Verb));
        assert_eq!(allowed("/v1/records"), "POST, GET, HEAD");
    }

    #[test]
    fn every_route_has_the_name_of_its_method_and_path() {
        for route in &ROUTES {
            assert_eq!(route.method.path, format!("{} {}", route.verb, route.path));
        }
    }
}
