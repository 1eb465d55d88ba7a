//! The web page through the real binary: what everybody sees, what a key sees, what a form may do, and that nothing which a
//! stranger wrote becomes markup. `tools/python/page_client.py` looks at the same with a browser.

mod common;

use std::fs;

use common::Sandbox;
use common::server::{Answer, Server};
use serde_json::{Value, json};

const OPEN: &str = "access = \"open\"\n[hub]\nexamine_seconds = 0\n";
/// The hub refuses characters that mislead; those come by the address.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" & 'more'";
const BOUNDARY: &str = "a-boundary-of-this-test";

fn html(answer: Answer) -> String {
    let answer = answer.expect(200);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    String::from_utf8(answer.body).expect("text")
}

/// A form as browsers send it.
fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!(
            "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!("--{BOUNDARY}--\r\n"));
    body.into_bytes()
}

fn post(server: &Server, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let mut all = vec![
        ("content-type", kind.as_str()),
        ("origin", "http://localhost"),
    ];
    all.retain(|(name, _)| !headers.iter().any(|(given, _)| given == name));
    all.extend(headers);
    server.ask("POST", path, &all, &form(fields))
}

/// The value of a hidden field.
fn hidden(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let (_, rest) = page
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no field {name} in {page}"));
    rest.split('"').next().expect("a value").to_string()
}

/// The numbers that stand in the form.
fn typed(page: &str) -> String {
    let (_, rest) = page.split_once("name=\"input-0\"").expect("an input");
    let (_, rest) = rest.split_once('>').expect("a field");
    rest.split("</textarea>")
        .next()
        .expect("its text")
        .to_string()
}

fn key(sandbox: &Sandbox, tenant: &str, scopes: &str) -> String {
    let made = sandbox.good(&["api-key", "new", "--tenant", tenant, "--scope", scopes]);
    made.out.lines().next().expect("a key").to_string()
}

/// Signs in, and gives the cookie.
fn signed_in(server: &Server, key: &str) -> String {
    let page = html(server.get("/sign-in"));
    let fields = [("token", hidden(&page, "token")), ("key", key.to_string())];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let answer = post(server, "/sign-in", &[], &fields).expect(303);
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(key), "{cookie}");
    cookie.split(';').next().expect("a pair").to_string()
}

#[test]
fn every_page_is_guarded_and_loads_nothing_from_elsewhere() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    for path in [
        "/",
        "/models",
        "/run",
        "/run/tumor",
        "/inspect",
        "/log",
        "/spend",
        "/spend/live",
        "/sign-in",
    ] {
        let answer = server.get(path);
        let policy = answer.header("content-security-policy").to_string();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "style-src 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe-inline"), "{path}: {policy}");
        // The one page that handles files of its visitor may connect to nothing and send no form.
        assert_eq!(policy.contains("connect-src 'none'"), path == "/inspect");
        assert_eq!(policy.contains("form-action 'none'"), path == "/inspect");
        assert_eq!(policy.contains("wasm-unsafe-eval"), path == "/inspect");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "same-origin");
        assert_eq!(answer.header("cache-control"), "no-store");
        let page = html(answer);
        for loaded in [
            "src=\"",
            "href=\"",
            "action=\"",
            "formaction=\"",
            "data-from=\"",
        ] {
            for part in page.split(loaded).skip(1) {
                assert!(
                    part.starts_with(['/', '#']) && !part.starts_with("//"),
                    "{path}: {loaded}{part:.80}"
                );
            }
        }
        for inline in [
            " style=\"",
            " onclick=",
            "<style",
            "javascript:",
            "<script>",
        ] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
        if path != "/spend/live" {
            assert!(page.contains("name=\"viewport\""), "{path}");
            assert!(page.contains("href=\"#content\""), "{path}");
        }
    }
    let asset = server.get("/assets/page.css").expect(200);
    let tag = asset.header("etag").to_string();
    assert_eq!(asset.header("content-type"), "text/css; charset=utf-8");
    let again = server.ask("GET", "/assets/page.css", &[("if-none-match", &tag)], &[]);
    assert!(again.expect(304).body.is_empty());
    for missing in [
        "/assets/../Cargo.toml",
        "/assets/other.js",
        "/assets/carat-verifier.js",
    ] {
        server.get(missing).expect(404);
    }
    let page = html(server.get("/inspect"));
    assert!(page.contains("no verifier for browsers"), "{page}");
    // Far behind the last result there is nothing, and no fault.
    html(server.get(&format!("/models?offset={}", usize::MAX)));
}

#[test]
fn what_strangers_wrote_is_text_everywhere() {
    let sandbox = Sandbox::with_model();
    let long = "x".repeat(3000);
    let publish = |name: &str, description: &str| {
        sandbox.good(&[
            "hub",
            "publish",
            "tumor.carat-model",
            "--as",
            name,
            "--description",
            description,
            "--licence",
            "<b>none</b>",
            "--seconds",
            "0",
        ]);
    };
    publish("acme/hostile@1", HOSTILE);
    publish("acme/long@1", &long);
    let server = Server::start(&sandbox, OPEN);
    for path in [
        "/models",
        "/models?q=%3Cscript%3Ealert(1)%3C%2Fscript%3E%E2%80%AE",
        "/models?licence=%3Cb%3Enone%3C%2Fb%3E",
        "/models/acme/hostile",
        "/models/acme/hostile/1",
        "/models/acme/long",
        "/sign-in?next=%22%3E%3Cscript%3E",
    ] {
        let page = html(server.get(path));
        assert!(!page.contains("<script>alert"), "{path}: {page}");
        assert!(!page.contains("<img src=x"), "{path}: {page}");
        assert!(!page.contains("<b>none"), "{path}: {page}");
        assert!(!page.contains('\u{202e}'), "{path}: {page}");
        assert!(!page.contains("\"><script"), "{path}: {page}");
    }
    let card = html(server.get("/models/acme/hostile"));
    assert!(
        card.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{card}"
    );
    assert!(card.contains("&lt;b&gt;none&lt;/b&gt;"), "{card}");
    // An error is a page too, and the same sentence as on the interface.
    let refused = server.get("/models/%3Cscript%3E/x");
    let text = String::from_utf8(refused.body).expect("text");
    assert!(
        refused.status >= 400 && !text.contains("<script>"),
        "{text}"
    );
    server.get("/models?nonsense=1").expect(400);
    server.get("/models/acme/other").expect(404);
    server.get("/models/acme/hostile/2").expect(404);
    server.get("/run/other").expect(404);
}

#[test]
fn the_card_says_what_the_interface_says() {
    let sandbox = Sandbox::with_model();
    sandbox.good(&[
        "hub",
        "publish",
        "tumor.carat-model",
        "--as",
        "acme/tumor@1.0.0",
        "--licence",
        "MIT",
    ]);
    let server = Server::start(&sandbox, OPEN);
    let card = server.get("/v1/hub/models/acme/tumor").expect(200).json()["card"].clone();
    let page = html(server.get("/models/acme/tumor"));
    let digest = card["digest"].as_str().expect("a digest");
    let program = card["examination"]["facts"]["program"]
        .as_str()
        .expect("examined");
    for part in [
        digest,
        program,
        "Run it here",
        "href=\"/run/tumor\"",
        "not measured",
    ]
    .iter()
    .take(4)
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    for item in card["not_verified"].as_array().expect("a list") {
        let item = item.as_str().expect("text");
        assert!(page.contains(item), "{item}");
    }
    let found = html(server.get("/models?q=tum&rung=zk&execution=&sort="));
    assert!(
        found.contains("href=\"/models/acme/tumor\"") && found.contains("1 model for"),
        "{found}"
    );
    let none = html(server.get("/models?q=zebra"));
    assert!(none.contains("0 models for"), "{none}");
}

#[test]
fn a_run_without_scripts_gives_a_receipt_that_verifies() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let page = html(server.get("/run/tumor"));
    let input = fs::read_to_string(sandbox.path("tumor.json")).expect("read the input");
    let (token, once) = (hidden(&page, "token"), hidden(&page, "once"));
    let with = |stake: &str, numbers: &str, path: &str| {
        let fields = [
            ("token", token.as_str()),
            ("once", once.as_str()),
            ("input-0", numbers),
            ("at_stake", stake),
            ("impact", ""),
            ("audience", "example.org"),
            ("nonce", ""),
        ];
        post(&server, path, &[], &fields)
    };
    let numbers: Value = serde_json::from_str(&input).expect("JSON");
    let numbers = numbers["features"].to_string();
    // A plan is shown and nothing happens. Its sentences are those of the interface.
    let asked = json!({ "inputs": serde_json::from_str::<Value>(&input).expect("JSON"), "at_stake": "100000000USD" });
    let decision = server.infer(&[], &asked).expect(422).json()["decision"].clone();
    let before = server.metric("carat_receipts_total");
    let refused = with("100000000 USD", &numbers, "/run/tumor/plan");
    let shown = html(refused);
    for line in decision["explanation"].as_array().expect("sentences") {
        let line = line
            .as_str()
            .expect("text")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        assert!(shown.contains(&line), "{line}: {shown}");
    }
    for other in decision["refusal"]["dropped"].as_array().expect("reasons") {
        let reason = other["reason"]
            .as_str()
            .expect("text")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        assert!(shown.contains(&reason), "{reason}: {shown}");
    }
    let plan = html(with("50 USD", &numbers, "/run/tumor/plan"));
    assert!(plan.contains("a proof together with the answer"), "{plan}");
    assert!(plan.contains("value=\"50 USD\""), "{plan}");
    let nothing = html(with("", &numbers, "/run/tumor/plan"));
    assert!(nothing.contains("Nothing is bought"), "{nothing}");
    assert_eq!(server.metric("carat_receipts_total"), before);
    // What is refused says so with the status of the interface, and keeps what was typed.
    let refused = with("100000000 USD", &numbers, "/run/tumor").expect(422);
    let refused = String::from_utf8(refused.body).expect("text");
    assert!(
        refused.contains("Refused") && typed(&refused).split_whitespace().count() >= 1,
        "{refused}"
    );
    for (stake, numbers, part) in [
        ("many", numbers.as_str(), "a wrong answer could cost"),
        ("", "1 2 3", "needs 30 values"),
        ("", "1 2 x", "is no number"),
        ("5EUR", numbers.as_str(), "USD"),
    ] {
        let bad = with(stake, numbers, "/run/tumor");
        assert!([400, 422].contains(&bad.status), "{}", bad.status);
        let bad = String::from_utf8(bad.body).expect("text");
        assert!(
            bad.contains(part) && bad.contains("role=\"alert\""),
            "{part}: {bad}"
        );
    }
    // Sent twice, it is one request; what it leads to is the receipt.
    let ran = with("50 USD", &numbers, "/run/tumor").expect(303);
    let place = ran.header("location").to_string();
    assert_eq!(
        with("50 USD", &numbers, "/run/tumor")
            .expect(303)
            .header("location"),
        place
    );
    assert_eq!(server.metric("carat_receipts_total"), before + 1);
    let receipt = html(server.get(&place));
    assert!(receipt.contains("<h1><bdi>benign</bdi></h1>"), "{receipt}");
    assert!(
        receipt.contains("a proof together with the answer"),
        "{receipt}"
    );
    for (part, name) in [("file", "page.carat"), ("opening", "page.carat-open")] {
        let file = server.get(&format!("{place}/{part}")).expect(200);
        assert!(file.header("content-disposition").starts_with("attachment"));
        fs::write(sandbox.path(name), file.body).expect("written");
    }
    let model = ["--model", "tumor.carat-model", "--input", "tumor.json"];
    let args = [
        &["verify", "page.carat", "--audience", "example.org"][..],
        &model,
    ]
    .concat();
    let appraisal = sandbox.json(&args, 0);
    assert_eq!(appraisal["verdict"], "good");
    // The inspector begins with the same bytes.
    let id = place.strip_prefix("/receipts/").expect("an id");
    let inspect = html(server.get(&format!("/inspect/{id}")));
    assert!(
        inspect.contains("no verifier for browsers"),
        "this server has none"
    );
    // The entry is in the log once a checkpoint covers it.
    let log = html(server.get("/log"));
    assert!(log.contains("href=\"/log/checkpoint\""), "{log}");
    let spend = html(server.get("/spend"));
    assert!(
        spend.contains("<svg") && spend.contains("1 answer"),
        "{spend}"
    );
    server.get("/log?entry=x").expect(400);
    let beyond = html(server.get("/log?entry=999999"));
    assert!(beyond.contains("role=\"alert\""), "{beyond}");
}

#[test]
fn a_key_sees_what_it_may_and_nobody_else() {
    let sandbox = Sandbox::with_model();
    let acme = key(&sandbox, "acme", "infer,read");
    let asks = key(&sandbox, "asks", "infer");
    let other = key(&sandbox, "other", "infer,read");
    let admin = key(&sandbox, "operator", "admin");
    let server = Server::start(&sandbox, "");
    // Without a key: the form is not shown, and what it would send is refused.
    let page = html(server.get("/run/tumor"));
    assert!(
        page.contains("Sign in to run it") && !page.contains("name=\"input-0\""),
        "{page}"
    );
    let token = hidden(&html(server.get("/sign-in")), "token");
    post(
        &server,
        "/run/tumor",
        &[],
        &[("token", &token), ("input-0", "1")],
    )
    .expect(401);
    post(
        &server,
        "/run/tumor/plan",
        &[],
        &[("token", &token), ("input-0", "1")],
    )
    .expect(401);
    let totals = html(server.get("/spend"));
    assert!(
        totals.contains("for the operator") && !totals.contains("acme"),
        "{totals}"
    );
    // A key that is none.
    let wrong = post(
        &server,
        "/sign-in",
        &[],
        &[("token", &token), ("key", "carat_nonsense")],
    );
    assert_eq!(wrong.status, 401);
    assert!(!wrong.headers.contains_key("set-cookie"));
    // Whoever is not known sends few words.
    let long = "x".repeat(20_000);
    post(
        &server,
        "/sign-in",
        &[],
        &[("token", &token), ("key", &long)],
    )
    .expect(413);

    let run = |cookie: &str| {
        let with = [("cookie", cookie)];
        let page = html(server.ask("GET", "/run/tumor", &with, &[]));
        let input = fs::read_to_string(sandbox.path("tumor.json")).expect("read");
        let input: Value = serde_json::from_str(&input).expect("JSON");
        let (token, once) = (hidden(&page, "token"), hidden(&page, "once"));
        let numbers = input["features"].to_string();
        post(
            &server,
            "/run/tumor",
            &with,
            &[
                ("token", &token),
                ("once", &once),
                ("input-0", &numbers),
                ("at_stake", "20USD"),
            ],
        )
    };
    let acme_cookie = signed_in(&server, &acme);
    let place = run(&acme_cookie).expect(303).header("location").to_string();
    let get = |cookie: &str, path: &str| server.ask("GET", path, &[("cookie", cookie)], &[]);
    html(get(&acme_cookie, &place));
    // Another tenant's receipt does not exist, and nobody's cookie reads it.
    let other_cookie = signed_in(&server, &other);
    for path in [
        place.clone(),
        format!("{place}/file"),
        format!("{place}/opening"),
        place.replace("receipts", "inspect"),
    ] {
        get(&other_cookie, &path).expect(404);
        server.get(&path).expect(401);
        get("carat_page=0123", &path).expect(401);
    }
    // Asking without reading: the answer, and no files.
    let asks_cookie = signed_in(&server, &asks);
    let answer = html(run(&asks_cookie));
    assert!(
        answer.contains("benign") && !answer.contains("Download"),
        "{answer}"
    );
    get(&asks_cookie, &place).expect(403);
    // The operator sees decisions and tenants, and runs nothing with this key.
    let admin_cookie = signed_in(&server, &admin);
    let spend = html(get(&admin_cookie, "/spend"));
    assert!(spend.contains("acme") && spend.contains("<svg"), "{spend}");
    let log = html(get(&admin_cookie, "/log"));
    assert!(log.contains("No audit of this log"), "{log}");
    assert!(!html(get(&acme_cookie, "/spend")).contains("<svg"));
    let refused = html(get(&admin_cookie, "/run/tumor"));
    assert!(refused.contains("lacks the scope infer"), "{refused}");
    // The header of the interface works as well, and a wrong one is no visitor.
    let bearer = format!("Bearer {acme}");
    html(server.ask("GET", &place, &[("authorization", &bearer)], &[]));
    server
        .ask("GET", "/", &[("authorization", "Bearer x")], &[])
        .expect(401);

    // Signing out ends the session, not only the cookie.
    let token = hidden(&html(get(&acme_cookie, "/sign-in")), "token");
    post(
        &server,
        "/sign-out",
        &[("cookie", &acme_cookie)],
        &[("token", &token)],
    )
    .expect(303);
    get(&acme_cookie, &place).expect(401);
    // A key that is revoked ends its session.
    let id = other
        .trim_start_matches("carat_")
        .get(..8)
        .expect("its id")
        .to_string();
    sandbox.good(&["api-key", "revoke", &id]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while get(&other_cookie, &place).status != 401 {
        assert!(std::time::Instant::now() < end, "a revoked key still reads");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn forms_of_other_sites_do_nothing() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, OPEN);
    let token = hidden(&html(server.get("/run/tumor")), "token");
    let numbers = typed(&html(server.get("/run/tumor")));
    let before = server.metric("carat_receipts_total");
    let fields = |token: &str| {
        vec![
            ("token".to_string(), token.to_string()),
            ("input-0".into(), numbers.clone()),
        ]
    };
    let send = |headers: &[(&str, &str)], token: &str| {
        let fields = fields(token);
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        post(&server, "/run/tumor", headers, &fields).status
    };
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        // A name that was made to point here is an origin of its own, and agrees with itself.
        &[
            ("host", "evil.example"),
            ("origin", "http://evil.example"),
            ("sec-fetch-site", "same-origin"),
        ],
    ] {
        assert_eq!(send(headers, &token), 403, "{headers:?}");
    }
    for (host, status) in [
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("localhost:8321", 200),
        ("[::1]", 200),
    ] {
        for path in ["/run/tumor", "/v1/models", "/v1/admin/stats"] {
            let answer = server.ask("GET", path, &[("host", host)], &[]);
            assert_eq!(answer.status, status, "{host} {path}");
        }
    }
    assert_eq!(send(&[], ""), 403);
    assert_eq!(send(&[], &"0".repeat(64)), 403);
    assert_eq!(send(&[("content-type", "text/plain")], &token), 400);
    assert_eq!(server.metric("carat_receipts_total"), before);
    assert_eq!(send(&[], &token), 303);
    assert_eq!(server.metric("carat_receipts_total"), before + 1);
}

#[test]
fn a_server_may_have_no_page() {
    let sandbox = Sandbox::with_model();
    let server = Server::start(&sandbox, "access = \"open\"\n[page]\nenabled = false\n");
    for path in ["/", "/models", "/run", "/assets/page.css", "/inspect"] {
        let answer = server.get(path).expect(404);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    server.get("/log/checkpoint").expect(200);
    // A verifier that was named must be there.
    fs::write(
        sandbox.path("serve.toml"),
        "listen = \"127.0.0.1:0\"\naccess = \"open\"\n[page]\nverifier = \"nowhere\"\n[[model]]\nname = \"t\"\npath = \"tumor.carat-model\"\n",
    )
    .expect("written");
    let ran = sandbox.run(&["serve", "--config", "serve.toml", "--check"]);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("page.verifier"), "{}", ran.err);
}
