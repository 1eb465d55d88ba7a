//! How to call a model: lines that work as they stand against `carat serve`.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::card::Port;

/// Where a server listens unless it is told otherwise.
const ADDRESS: &str = "http://127.0.0.1:8321";
/// Most numbers that are written out in a command.
const INLINE: u64 = 64;

/// How to call a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snippets {
    /// Whether the node that shows them serves the model.
    pub served: bool,
    /// What must be done before they work.
    pub needs: String,
    /// For a shell, with curl.
    pub curl: String,
    /// For Python, with its standard library.
    pub python: String,
}

/// Zeros of a shape.
fn zeros(shape: &[Option<u64>]) -> Value {
    match shape.split_first() {
        None => json!(0),
        Some((length, rest)) => {
            let one = zeros(rest);
            Value::Array((0..length.unwrap_or(1)).map(|_| one.clone()).collect())
        }
    }
}

fn elements(shape: &[Option<u64>]) -> u64 {
    let lengths = shape.iter().map(|length| length.unwrap_or(1));
    lengths.fold(1, u64::saturating_mul)
}

/// A word in single quotes for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The snippets for inputs. `served`: address and name of a node that serves the model.
pub fn snippets(inputs: &[Port], name: &str, served: Option<(&str, &str)>) -> Snippets {
    let (address, name) = served.unwrap_or((ADDRESS, name));
    let url = format!("{address}/v1/models/{name}/infer");
    let total = inputs
        .iter()
        .fold(0u64, |sum, port| sum.saturating_add(elements(&port.shape)));
    // A JSON text is a Python expression where it holds no true, false or null.
    let python_inputs: Vec<String> = inputs
        .iter()
        .map(|port| {
            let shape: Vec<String> = port
                .shape
                .iter()
                .map(|length| length.unwrap_or(1).to_string())
                .collect();
            format!("{}: zeros({})", json!(port.name), shape.join(", "))
        })
        .collect();
    let python_inputs = python_inputs.join(", ");
    let define = "def zeros(*shape):\n    return [zeros(*shape[1:]) for _ in range(shape[0])] if shape else 0\n";
    let headers = "-H \"Authorization: Bearer $CARAT_API_KEY\" -H 'Content-Type: application/json'";
    let curl = if total <= INLINE {
        let inputs: serde_json::Map<String, Value> = inputs
            .iter()
            .map(|port| (port.name.clone(), zeros(&port.shape)))
            .collect();
        let body = quoted(&json!({ "inputs": inputs }).to_string());
        format!("curl -s {headers} -d {body} {}", quoted(&url))
    } else {
        let script =
            format!("import json\n{define}print(json.dumps({{\"inputs\": {{{python_inputs}}}}}))");
        format!(
            "python3 -c {} | curl -s {headers} --data-binary @- {}",
            quoted(&script),
            quoted(&url)
        )
    };
    let python = format!(
        "import json, os, urllib.request\n\n{define}\n\
         body = json.dumps({{\"inputs\": {{{python_inputs}}}}}).encode()\n\
         headers = {{\"Content-Type\": \"application/json\", \"Authorization\": \"Bearer \" + os.environ[\"CARAT_API_KEY\"]}}\n\
         request = urllib.request.Request({}, body, headers)\n\
         with urllib.request.urlopen(request) as answer:\n    \
             answer = json.load(answer)\n\
         print(answer[\"receipt_id\"], answer[\"outputs\"])\n",
        json!(url)
    );
    let needs = if served.is_some() {
        "export CARAT_API_KEY=... (a key with the scope infer)".to_string()
    } else {
        format!(
            "serve it: in the server's configuration, [[model]] name = \"{name}\" and path = the folder that `carat hub pull` made"
        )
    };
    Snippets {
        served: served.is_some(),
        needs,
        curl,
        python,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_stay_inside_their_quotes() {
        let port = Port {
            name: "it's $(x) \"y\"".into(),
            dtype: "float32".into(),
            shape: vec![None, Some(2)],
            labels: Vec::new(),
        };
        let made = snippets(&[port], "m", None);
        assert!(
            made.curl
                .contains(r#"-d '{"inputs":{"it'\''s $(x) \"y\"":[[0,0]]}}'"#),
            "{}",
            made.curl
        );
        assert!(
            made.python.contains(r#"{"it's $(x) \"y\"": zeros(1, 2)}"#),
            "{}",
            made.python
        );
        assert!(!made.served);
    }
}
