//! `GET /openapi.json`: all routes, for programs.

use bytes::Bytes;
use http::{Response, StatusCode};
use tonic::body::Body;

use super::respond;

/// Written by hand; a test holds it to the routes.
const TEXT: &str = include_str!("openapi.json");

/// The description.
pub fn describe() -> Response<Body> {
    respond::bytes(StatusCode::OK, respond::JSON, Bytes::from_static(TEXT.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;
    use crate::net::http::routes::ROUTES;

    fn document() -> Value {
        serde_json::from_str(TEXT).unwrap()
    }

    /// What a `$ref` points at, or the value itself.
    fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').expect("it points into the document");
                let there = document.pointer(pointer);
                resolved(
                    document,
                    there.unwrap_or_else(|| panic!("{reference} is not there")),
                )
            }
            None => value,
        }
    }

    fn each_value<'a>(value: &'a Value, look: &mut impl FnMut(&'a Value)) {
        look(value);
        match value {
            Value::Array(values) => values.iter().for_each(|value| each_value(value, look)),
            Value::Object(fields) => fields.values().for_each(|value| each_value(value, look)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn it_is_of_this_version_and_of_openapi_3_1() {
        let document = document();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(document["info"]["title"].is_string());
        let known = [
            "openapi",
            "info",
            "servers",
            "paths",
            "components",
            "tags",
            "security",
            "externalDocs",
        ];
        for field in document.as_object().unwrap().keys() {
            assert!(known.contains(&field.as_str()), "{field}");
        }
    }

    #[test]
    fn it_has_each_route_with_its_parameters_and_nothing_else() {
        let document = document();
        let mut described = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (verb, operation) in item.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let in_query: BTreeSet<&str> = parameters
                    .map(|parameter| resolved(&document, parameter))
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                described.insert(format!("{} {path}", verb.to_uppercase()), in_query);
            }
        }
        let routes: BTreeMap<_, BTreeSet<&str>> = ROUTES
            .iter()
            .map(|route| {
                (
                    route.method.path.to_owned(),
                    route.parameters.iter().copied().collect(),
                )
            })
            .collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        let document = document();
        let mut used = BTreeSet::new();
        each_value(&document, &mut |value| {
            if let Some(reference) = value["$ref"].as_str() {
                resolved(&document, value);
                used.insert(reference.to_owned());
            }
        });
        for (kind, components) in document["components"].as_object().unwrap() {
            for name in components.as_object().unwrap().keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(used.contains(&reference), "{reference} is not used");
            }
        }
    }

    #[test]
    fn every_operation_parameter_and_response_has_what_openapi_asks_of_it() {
        let document = document();
        let mut names = BTreeSet::new();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name), "{name} is there twice");
                assert!(operation["summary"].is_string(), "{name}");
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let parameter = resolved(&document, parameter);
                    assert!(parameter["name"].is_string(), "{name}: {parameter}");
                    assert!(parameter["description"].is_string(), "{name}: {parameter}");
                    assert!(parameter["schema"].is_object(), "{name}: {parameter}");
                    assert!(
                        ["query", "header"].contains(&parameter["in"].as_str().unwrap()),
                        "{name}"
                    );
                }
                let responses = operation["responses"].as_object().unwrap();
                assert!(responses.contains_key("200"), "{name}");
                // Whoever may be refused at all is told how.
                for status in ["403", "default"] {
                    assert!(responses.contains_key(status), "{name} {status}");
                }
                for (status, response) in responses {
                    let response = resolved(&document, response);
                    assert!(response["description"].is_string(), "{name} {status}");
                    for (kind, content) in response["content"].as_object().into_iter().flatten() {
                        assert!(content["schema"].is_object(), "{name} {status} {kind}");
                    }
                }
            }
        }
    }
}
