//! The playground: runs a model that is served, and shows before and after what is bought for the answer, and why.

mod input;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};
use serde_json::Value;
use tokio::task::block_in_place;

use self::input::{Filled, MAX_NUMBERS, Sent, examples, read};
use super::form::{self, Fields};
use super::frame::{Here, Page, answer, facts, name, note, plain, refused, table, whole};
use super::models::shape;
use super::session::{Visitor, random, with};
use super::{outcome, receipt};
use crate::access::Scope;
use crate::answer::Inline;
use crate::api::Shared;
use crate::api::infer::{Found, claimed, wait};
use crate::call::{Call, Form, Raw, key_name};
use crate::model::{Computation, Described};
use crate::node::{Node, Weighed, now};
use crate::problem::Problem;
use crate::served::Served;
use crate::store::Target;

/// `GET /run`: the models that are served. The OpenAPI document tells everybody the same.
pub(super) async fn list(State(node): Shared, headers: HeaderMap) -> Response {
    with(&node, &headers, |visitor| {
        let body = html! {
            h1 { "Run a model" }
            @if node.models.is_empty() {
                p.lead { "This server runs no model itself." }
            } @else {
                p.lead { "Every answer gets a receipt. Say what hangs on it, and see what is bought for it before you run." }
            }
            ul.cards { @for served in &node.models { (summary(served)) } }
        };
        Ok(Page::new("Run a model", Here::Run).with(visitor, body))
    })
}

/// A model in a list.
pub(super) fn summary(served: &Served) -> Markup {
    html! {
        li.card {
            h2 { a href={ "/run/" (served.name) } { (name(&served.name)) } " " span.version { (plain(served.model.version.as_str())) } }
            @let about = about(served);
            @if !about.is_empty() { p { (name(&about)) } }
            p.tags {
                @if served.proving.is_some() { span.tag.good { "can be proven" } }
                @for input in served.model.program().inputs() {
                    span.tag.plain { (plain(&input.name)) " " (dims(&input)) }
                }
            }
        }
    }
}

/// The description in a model's card: the publisher's words.
fn about(served: &Served) -> String {
    let card: Value = serde_json::from_str(served.model.card()).unwrap_or_default();
    let text = card["metadata"]["description"].as_str().unwrap_or_default();
    text.chars().take(500).collect()
}

fn dims(input: &Described) -> String {
    shape(input.axes().iter().map(|&axis| Some(axis as u64)))
}

/// `GET /run/{name}`.
pub(super) async fn form(
    State(node): Shared,
    Path(model): Path<String>,
    headers: HeaderMap,
) -> Response {
    with(&node, &headers, |visitor| {
        let served = node.model(&model)?;
        if !visitor.can(Scope::Infer) {
            return Ok(locked(served, visitor));
        }
        let (inputs, example) = block_in_place(|| examples(&node, served));
        let filled = Filled {
            inputs,
            example: Some(example),
            once: hex::encode(random()?),
            ..Filled::default()
        };
        Ok(page(visitor, served, &filled, html! {}))
    })
}

/// For whoever may not run it: what everybody is told.
fn locked(served: &Served, visitor: &Visitor) -> Response {
    let body = html! {
        (head(served))
        @match visitor.may(Scope::Infer) {
            Err(problem) if problem.status == 403 => (note(&problem)),
            _ => p { a.button.first href={ "/sign-in?next=/run/" (served.name) } { "Sign in to run it" }
                " " span.quiet { "It takes an API key with the scope " code { "infer" } "." } },
        }
        (inputs_table(served.model.program()))
    };
    Page::new(&served.name, Here::Run).with(visitor, body)
}

fn head(served: &Served) -> Markup {
    html! {
        p.crumbs { a href="/run" { "Run" } }
        h1 { (name(&served.name)) " " span.version { (plain(served.model.version.as_str())) } }
        @let about = about(served);
        @if !about.is_empty() { p.lead { (name(&about)) } }
    }
}

fn inputs_table(program: Computation<'_>) -> Markup {
    html! {
        h2 { "Inputs" }
        (table("Inputs", &["Name", "Type", "Shape", "As an image"], html! {
            @for input in program.inputs() {
                tr {
                    th scope="row" { (name(&input.name)) }
                    td { (input.dtype.name()) }
                    td { (dims(&input)) }
                    td { @match &input.image { Some(image) => { (image.width) " × " (image.height) " pixels" }, None => "–" } }
                }
            }
        }))
    }
}

/// The form, with `above` over it: a plan, or what is wrong.
fn page(visitor: &Visitor, served: &Served, filled: &Filled, above: Markup) -> Response {
    let body = html! {
        (head(served))
        (above)
        (entry(visitor, served, filled))
        h2 { "What runs" }
        (facts(&[
            ("Program", Some(whole(&served.model.digest.to_string()))),
            ("Name in receipts", Some(html! { (name(served.model.name.as_str())) " " (plain(served.model.version.as_str())) })),
            ("A receipt can rest on", Some(html! { @if served.proving.is_some() { "a signature, a replay, a proof" } @else { "a signature, a replay" } })),
        ]))
    };
    Page::new(&served.name, Here::Run).with(visitor, body)
}

fn entry(visitor: &Visitor, served: &Served, filled: &Filled) -> Markup {
    let program = served.model.program();
    let action = format!("/run/{}", served.name);
    html! {
        form.run method="post" action=(action) enctype="multipart/form-data" {
            input type="hidden" name="token" value=(visitor.token);
            input type="hidden" name="once" value=(filled.once);
            fieldset {
                legend { "Input" }
                @for (i, input) in program.inputs().iter().enumerate() {
                    (field(i, input, filled.inputs.get(i).map_or("", String::as_str)))
                }
                @if let Some(example) = filled.example { p.small.quiet { (example) } }
                (file_field(program))
            }
            fieldset {
                legend { "What hangs on it" }
                div.grid {
                    div.field {
                        label for="at_stake" { "A wrong answer could cost" }
                        input #at_stake name="at_stake" type="text" value=(filled.at_stake) placeholder="50USD" autocomplete="off"
                            aria-describedby="at-stake-help";
                        p #at-stake-help .small.quiet { "An amount with its currency. Empty: nothing is stated." }
                    }
                    div.field {
                        label for="impact" { "Or in words" }
                        select #impact name="impact" {
                            option value="" selected[filled.impact.is_empty()] { "not stated" }
                            @for impact in carat_policy::policy_file::IMPACTS {
                                option value=(impact) selected[filled.impact == impact] { (impact) }
                            }
                        }
                    }
                }
                @let more = [&filled.audience, &filled.nonce, &filled.retain, &filled.facts];
                details open[more.iter().any(|text| !text.is_empty())] {
                    summary { "More that can be said" }
                    div.grid {
                        div.field {
                            label for="audience" { "For whom the receipt is" }
                            input #audience name="audience" type="text" value=(filled.audience) placeholder="example.org" autocomplete="off";
                        }
                        div.field {
                            label for="nonce" { "Nonce, in hexadecimal" }
                            input #nonce name="nonce" type="text" value=(filled.nonce) placeholder="00112233445566778899aabbccddeeff" autocomplete="off" spellcheck="false";
                        }
                        div.field {
                            label for="retain" { "Keep input and output for" }
                            input #retain name="retain" type="text" value=(filled.retain) placeholder="12h" autocomplete="off";
                        }
                    }
                    div.field {
                        label for="facts" { "Facts for the policy" }
                        textarea #facts name="facts" rows="2" spellcheck="false" placeholder="{\"request\": {\"route\": \"/claims\"}}"
                            aria-describedby="facts-help" { (filled.facts) }
                        p #facts-help .small.quiet { "JSON with facts of the request. How fast an answer must be is for the rules of the policy to say, by these facts." }
                    }
                }
            }
            p.actions {
                button.first type="submit" { "Run" }
                button type="submit" formaction={ (action) "/plan" } { "Show the plan first" }
            }
        }
    }
}

fn field(i: usize, input: &Described, text: &str) -> Markup {
    let id = format!("input-{i}");
    let count = input.elements();
    let rows = text.lines().count().clamp(2, 12);
    html! {
        div.field {
            label for=(id) { (name(&input.name)) " " span.quiet { (dims(input)) ", " (input.dtype.name()) } }
            @if count <= MAX_NUMBERS {
                textarea.numbers-in id=(id) name=(id) rows=(rows) spellcheck="false" autocomplete="off" { (text) }
            } @else {
                p #(id) .quiet { (count) " numbers are too many to type: choose a file." }
            }
        }
    }
}

fn file_field(program: Computation<'_>) -> Markup {
    let inputs = program.inputs();
    let image = match &inputs[..] {
        [only] => only.image.as_ref(),
        _ => None,
    };
    let single = inputs.len() == 1;
    let accepted = match (image.is_some(), single) {
        (true, _) => ".png,.npy,.json",
        (_, true) => ".npy,.json",
        _ => ".json",
    };
    html! {
        div.field {
            label for="file" { "Or a file, which is used instead" }
            input #file name="file" type="file" accept=(accepted) aria-describedby="file-help";
            p #file-help .small.quiet {
                @if let Some(image) = image { "An image of " (image.width) " × " (image.height) " pixels (PNG), a NumPy file (.npy), or JSON." }
                @else if single { "A NumPy file (.npy), or JSON." }
                @else { "JSON that names each input." }
            }
        }
    }
}

/// Whoever sent a form, and the form. It is read once it is known that its sender may run something.
async fn sent(
    node: &Node,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Visitor, Fields), Box<Response>> {
    let visitor = Visitor::of(node, headers)
        .map_err(|problem| Box::new(refused(&Visitor::nobody(node), &problem)))?;
    let read = match visitor.may(Scope::Infer) {
        Ok(_) => form::read(node, headers, body).await,
        Err(problem) => Err(problem),
    };
    let fields = read.and_then(|fields| visitor.sent(&fields).map(|()| fields));
    match fields {
        Ok(fields) => Ok((visitor, fields)),
        Err(problem) => Err(Box::new(refused(&visitor, &problem))),
    }
}

/// The form again, with the status of what is wrong with it.
fn again(visitor: &Visitor, served: &Served, filled: &Filled, problem: &Problem) -> Response {
    let above = html! {
        @match &problem.extra {
            // A refusal of the policy: the decision says it all.
            Some(decision) => { h2 { "The plan" } (outcome::decision(decision)) },
            None => (note(problem)),
        }
    };
    let mut response = page(visitor, served, filled, above);
    *response.status_mut() =
        StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

/// `POST /run/{name}/plan`: what would be bought; nothing runs, and nothing is kept.
pub(super) async fn plan(
    State(node): Shared,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (visitor, fields) = match sent(&node, &headers, body).await {
        Ok(sent) => sent,
        Err(response) => return *response,
    };
    let planned = || {
        let served = node.model(&model)?;
        let tenant = &visitor.may(Scope::Infer)?.tenant;
        let (filled, sent) = read(served, &fields);
        let weighed = sent.and_then(|sent| {
            let call = Call::new(tenant, served.clone(), sent.inputs, sent.asked)?;
            node.preview(&call)
        });
        Ok(match weighed {
            Ok(weighed) => page(&visitor, served, &filled, preview(weighed.as_ref())),
            Err(problem) => again(&visitor, served, &filled, &problem),
        })
    };
    answer(&visitor, block_in_place(planned))
}

fn preview(weighed: Option<&Weighed>) -> Markup {
    html! {
        section #plan aria-label="The plan" {
            h2 { "The plan" }
            @match weighed {
                None => div.verdict {
                    p.amount { "Nothing is bought" }
                    p { "Nobody says what hangs on the answer, so it gets a signature and a place in the log. "
                        "A signature alone is good for nothing: state an amount, and see what covers it." }
                },
                Some(weighed) => (outcome::decision(&weighed.planned.json())),
            }
            p.small.quiet { "Nothing ran, and nothing was set aside. What is below is as you sent it." }
        }
    }
}

/// `POST /run/{name}`.
pub(super) async fn run(
    State(node): Shared,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let (visitor, fields) = match sent(&node, &headers, body).await {
        Ok(sent) => sent,
        Err(response) => return *response,
    };
    let ran = async {
        let served = node.model(&model)?;
        let tenant = &visitor.may(Scope::Infer)?.tenant;
        let (filled, sent) = read(served, &fields);
        let given = match sent {
            Ok(sent) => give(&node, served, tenant, &filled.once, sent).await,
            Err(problem) => Err(problem),
        };
        match given {
            Ok(id) if visitor.can(Scope::Read) => Ok(to(&format!("/receipts/{id}"))),
            Ok(id) => only_answer(&node, &visitor, tenant, &id),
            Err(problem) => Ok(again(&visitor, served, &filled, &problem)),
        }
    };
    answer(&visitor, ran.await)
}

/// Runs it. The same form sent twice, by a second press or by loading a page again, is one request.
async fn give(
    node: &Node,
    served: &Arc<Served>,
    tenant: &str,
    once: &str,
    sent: Sent,
) -> Result<carat_receipt::Digest, Problem> {
    let values: Vec<&[f64]> = sent.inputs.iter().map(|one| one.data.as_slice()).collect();
    let raw = Raw {
        model: served.name.clone(),
        form: Form::Json,
        asked: sent.asked.clone(),
        body: serde_json::to_vec(&values).map_err(Problem::bad_request)?,
    };
    let request = raw.digest("page")?;
    let key = match once.is_empty() {
        true => None,
        // Another content is another request, whatever form it was typed into.
        false => Some((
            key_name(
                tenant,
                &format!("page {} {request}", once.get(..64).unwrap_or(once)),
            )?,
            request,
        )),
    };
    let claim = match claimed(node, key).await? {
        Found::Known(Target::Receipt(id)) => return Ok(id),
        Found::Known(Target::Job(_)) => {
            return Err(Problem::new(409, "key-reused", "the form was used before"));
        }
        Found::New(claim) => claim,
    };
    let call = Call::new(tenant, served.clone(), sent.inputs, sent.asked)?;
    let (answer, _) = wait(node, call, key, claim).await?;
    Ok(answer.id)
}

fn to(place: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

/// The answer for a key that may ask and not read: without files.
fn only_answer(
    node: &Node,
    visitor: &Visitor,
    tenant: &str,
    id: &carat_receipt::Digest,
) -> Result<Response, Problem> {
    let (given, index) = node.answered(tenant, id)?;
    let told = node.show(tenant, &given, index, Inline::default(), now()?)?;
    let title = outcome::headline(&told.json["outputs"]);
    let body = html! {
        h1 { (name(&title)) }
        (receipt::answered(&told.json))
        (facts(&[("Receipt", Some(whole(&id.to_string())))]))
        p.quiet { "The receipt can be fetched with a key that has the scope " code { "read" } "." }
    };
    Ok(Page::new(&title, Here::Run).with(visitor, body))
}
