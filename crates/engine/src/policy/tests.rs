use super::*;
use serde_json::json;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// The drill's roles, and one of each other kind.
fn source() -> PolicySource {
    let constraint = |tool: &str, argument: &str| Constraint {
        id: format!("args:payer/{tool}#{argument}"),
        tool: tool.into(),
        argument: argument.into(),
        ..Constraint::default()
    };
    let analyst = Role {
        allow: names(&["practice/read_file", "practice/search_database", "practice/generate_summary", "files/*"]),
        tasks: [("summarize".to_owned(), Task { allow: names(&["practice/*"]) })].into(),
        ..Role::default()
    };
    let payer = Role {
        allow: names(&["bank/pay", "bank/read*"]),
        constraints: vec![
            Constraint { max: Some(1000), min: Some(1), ..constraint("bank/pay", "amount") },
            Constraint { starts_with: Some("invoices/".into()), optional: true, ..constraint("bank/*", "path") },
        ],
        ..Role::default()
    };
    let auditor = Role { allow: names(&["*/*"]), read_only: true, ..Role::default() };
    let worker = Role { tasks: [("mail".to_owned(), Task { allow: names(&["mail/send"]) })].into(), ..Role::default() };
    PolicySource {
        roles: [("analyst", analyst), ("payer", payer), ("auditor", auditor), ("worker", worker)].map(|(n, r)| (n.to_owned(), r)).into(),
        servers: [
            ("files".to_owned(), ServerFacts { reads: names(&["read_file"]), trust_annotations: false }),
            ("trusted".to_owned(), ServerFacts { reads: vec![], trust_annotations: true }),
        ]
        .into(),
        cedar: vec![],
    }
}

fn with(cedar: &str) -> PolicySource {
    PolicySource { cedar: vec![("extra.cedar".to_owned(), cedar.to_owned())], ..source() }
}

/// `role/task server/tool arguments`, decided; `-` for none.
fn ask(policies: &Policies, who: &str, what: &str, arguments: Option<Value>) -> String {
    ask_at(policies, who, what, arguments, "2026-04-07T10:00:00Z", false)
}

fn ask_at(policies: &Policies, who: &str, what: &str, arguments: Option<Value>, now: &str, hint: bool) -> String {
    let (role, task) = who.split_once('/').unwrap_or((who, "-"));
    let (role, task) = (RoleName::from(role), TaskName::from(task));
    let (server, tool) = what.split_once('/').unwrap();
    let principal = PrincipalName::from("analyst-agent-047");
    let action = match tool.split_once(':') {
        Some(("resource", uri)) => Action::ReadResource(uri),
        Some(("prompt", name)) => Action::GetPrompt(name),
        Some(("method", name)) => Action::Other(name),
        _ => Action::CallTool(tool),
    };
    let query = Query {
        principal: &principal,
        role: Some(&role).filter(|r| r.as_str() != "-"),
        task: Some(&task).filter(|t| t.as_str() != "-"),
        action,
        server: &ServerName::from(server),
        arguments: arguments.as_ref(),
        read_only_hint: hint,
        now: now.parse().unwrap(),
    };
    let verdict = match policies.decide(&query) {
        Verdict::Allow { policies } => {
            format!("ALLOW by {}", policies.iter().map(PolicyId::as_str).collect::<Vec<_>>().join(", "))
        }
        Verdict::Deny { policy, why } => format!("DENY  by {policy}: {why}"),
        Verdict::Error { policy, why } => format!("ERROR in {policy}: {why}"),
        Verdict::Undeclared => "UNDECLARED".to_owned(),
    };
    let arguments = arguments.map(|a| format!(" {a}")).unwrap_or_default();
    format!("{who} {what}{arguments}\n    {verdict}\n")
}

fn table(policies: &Policies, rows: &[(&str, &str, Option<Value>)]) -> String {
    rows.iter().map(|(who, what, arguments)| ask(policies, who, what, arguments.clone())).collect()
}

#[test]
fn allowlists_of_role_and_task() {
    let policies = Policies::compile(&source()).unwrap();
    insta::assert_snapshot!(table(
        &policies,
        &[
            ("analyst/summarize", "practice/read_file", None),
            ("analyst/summarize", "practice/send_data", None),
            ("analyst/summarize", "files/read_file", None),
            ("analyst/-", "files/anything", None),
            ("analyst/unknown", "practice/read_file", None),
            ("worker/mail", "mail/send", None),
            ("worker/-", "mail/send", None),
            ("worker/other", "mail/send", None),
            ("stranger/-", "mail/send", None),
            ("-/-", "mail/send", None),
            ("-/-", "mail/method:initialize", None),
            ("analyst/summarize", "practice/resource:file:///x", None),
            ("analyst/summarize", "mail/resource:file:///x", None),
            ("analyst/-", "files/prompt:p", None),
            ("worker/-", "mail/prompt:p", None),
        ],
    ));
}

#[test]
fn tricks_with_names_match_nothing() {
    let policies = Policies::compile(&source()).unwrap();
    for name in [
        "Read_file",
        "read_file ",
        " read_file",
        "read_file\u{200b}",
        "read_file\u{0}",
        "reаd_file",
        "ｒead_file",
        "read-file",
        "practice/read_file",
        "../practice/read_file",
        "*",
        "read*",
        "",
        "read_file\" || true || \"",
        "functions.read_file",
        "READ_FILE",
        "read_file\n",
        "cmVhZF9maWxl",
    ] {
        let verdict = ask(&policies, "analyst/summarize", &format!("practice/{name}"), None);
        assert!(verdict.contains("DENY  by role:analyst/task:summarize"), "{verdict}");
    }
    // A tool of another server cannot carry the permitted server in its name.
    assert!(ask(&policies, "analyst/summarize", "evil/practice/read_file", None).contains("DENY"));
}

#[test]
fn arguments_are_constrained() {
    let policies = Policies::compile(&source()).unwrap();
    insta::assert_snapshot!(table(
        &policies,
        &[
            ("payer/-", "bank/pay", Some(json!({"amount": 1000}))),
            ("payer/-", "bank/pay", Some(json!({"amount": 1000.5}))),
            ("payer/-", "bank/pay", Some(json!({"amount": "5000"}))),
            ("payer/-", "bank/pay", Some(json!({"amount": null}))),
            ("payer/-", "bank/pay", Some(json!({"amount": 5, "path": "invoices/../keys"}))),
            ("payer/-", "bank/pay", Some(json!([1]))),
            ("payer/-", "bank/pay", None),
            ("payer/-", "bank/read_all", None),
            ("payer/-", "bank/read_all", Some(json!({"path": "etc"}))),
            ("payer/-", "bank/transfer", Some(json!({"amount": 5}))),
        ],
    ));
}

#[test]
fn a_read_only_role_calls_only_what_is_known_to_change_nothing() {
    let policies = Policies::compile(&source()).unwrap();
    let ask = |what: &str, hint| ask_at(&policies, "auditor/-", what, None, "2026-04-07T10:00:00Z", hint);
    assert!(ask("files/read_file", false).contains("ALLOW"));
    assert!(ask("files/write_file", false).contains("DENY  by role:auditor/read_only"));
    assert!(ask("files/write_file", true).contains("DENY"), "an untrusted server's word does not count");
    assert!(ask("trusted/list", true).contains("ALLOW"));
    assert!(ask("trusted/list", false).contains("DENY"));
    assert!(ask("files/resource:file:///x", false).contains("ALLOW"));
}

#[test]
fn an_evaluation_error_denies() {
    let policies = Policies::compile(&with(
        "@id(\"small\") permit (principal, action == Action::\"call_tool\", resource == Tool::\"bank/transfer\") when { context.args.amount <= 1000 };
         @id(\"large\") forbid (principal, action, resource == Tool::\"bank/read_one\") when { context.args.amount > 1000 };",
    ))
    .unwrap();
    insta::assert_snapshot!(table(
        &policies,
        &[
            ("payer/-", "bank/transfer", Some(json!({"amount": 1000}))),
            ("payer/-", "bank/transfer", Some(json!({"amount": 1001}))),
            ("payer/-", "bank/transfer", Some(json!({"amount": "5000"}))),
            ("payer/-", "bank/transfer", Some(json!({"amount": null}))),
            ("payer/-", "bank/transfer", Some(json!({"amount": 12.5}))),
            // Permitted by the role, and the forbid cannot be judged: Cedar alone would let it pass.
            ("payer/-", "bank/read_one", Some(json!({"amount": "5000"}))),
            ("payer/-", "bank/read_one", Some(json!({"amount": 5}))),
            ("payer/-", "bank/read_one", Some(json!({"amount": 5000}))),
        ],
    ));
}

#[test]
fn forbid_wins_over_every_permit() {
    let policies = Policies::compile(&with(
        "@id(\"everything\") permit (principal, action, resource);
         @id(\"quarantine:files\") @why(\"server files is quarantined\") forbid (principal, action, resource in Server::\"files\");",
    ))
    .unwrap();
    let text = ask(&policies, "analyst/-", "files/read_file", None);
    assert!(text.contains("DENY  by quarantine:files: server files is quarantined"), "{text}");
    assert!(ask(&policies, "analyst/-", "mail/send", None).contains("ALLOW by everything"));
    assert!(ask(&policies, "-/-", "mail/send", None).contains("ALLOW by everything"));
    assert!(ask(&policies, "auditor/-", "mail/send", None).contains("DENY  by role:auditor/read_only"));
}

#[test]
fn policies_can_ask_for_the_time_and_the_agent() {
    let policies = Policies::compile(&with(
        "@id(\"office\") permit (principal == Agent::\"analyst-agent-047\", action, resource in Server::\"mail\")
           when { context.hour >= 8 && context.hour < 18 && context.weekday <= 5 };",
    ))
    .unwrap();
    let at = |now| ask_at(&policies, "stranger/-", "mail/send", None, now, false);
    assert!(at("2026-04-07T10:00:00Z").contains("ALLOW by office"));
    assert!(at("2026-04-07T18:00:00Z").contains("DENY"));
    assert!(at("2026-04-05T10:00:00Z").contains("DENY"), "a Sunday");
}

#[test]
fn arguments_become_typed_facts() {
    let deep = (0..40).fold(json!(1), |inner, _| json!({ "d": inner }));
    let policies = Policies::compile(&with(
        "@id(\"list\") permit (principal, action, resource == Tool::\"x/list\") when { [\"a\", \"b\"].containsAll(context.args.tags) };
         @id(\"deep\") permit (principal, action, resource == Tool::\"x/deep\") when { context.args.o.p == decimal(\"1.5\") };
         @id(\"gaps\") permit (principal, action, resource == Tool::\"x/gaps\")
           when { context.unrepresentable.containsAll([\"null\", \"pi\", \"big\", \"o.n\", \"mixed\"]) && !(context.args has mixed) };
         @id(\"depth\") permit (principal, action, resource == Tool::\"x/depth\") when { context.unrepresentable.contains(\"d.d.d.d.d.d.d.d\") };
         @id(\"shape\") permit (principal, action, resource == Tool::\"x/shape\") when { context.unrepresentable.contains(\"args\") };",
    ))
    .unwrap();
    let allowed = |what: &str, arguments: Value| ask(&policies, "-/-", what, Some(arguments)).contains("ALLOW");
    assert!(allowed("x/list", json!({"tags": ["b"]})));
    assert!(!allowed("x/list", json!({"tags": ["b", "c"]})));
    assert!(!allowed("x/list", json!({"tags": ["b", null]})), "an element that cannot be judged is not passed over");
    assert!(allowed("x/deep", json!({"o": {"p": 1.5}})));
    let gaps = json!({"null": null, "pi": 0.123456789, "big": u64::MAX, "o": {"n": null, "ok": 1}, "mixed": [1, {"x": 1e300}]});
    assert!(allowed("x/gaps", gaps));
    assert!(allowed("x/depth", deep));
    assert!(allowed("x/shape", json!(["not an object"])));
}

#[test]
fn nothing_declared_decides_nothing() {
    let policies = Policies::undeclared();
    assert!(ask(&policies, "analyst/-", "files/read_file", None).contains("UNDECLARED"));
    assert_eq!(policies.allowlist(Some(&RoleName::from("analyst")), None), None);
    assert_eq!(policies.cedar_text(), "");
}

#[test]
fn the_short_form_is_readable_cedar() {
    insta::assert_snapshot!(Policies::compile(&source()).unwrap().cedar_text());
}

#[test]
fn names_with_cedar_in_them_stay_names() {
    let role = Role { allow: names(&["a/x\" || true || \"", "a/\\*", "é/*\n"]), ..Role::default() };
    let policies = Policies::compile(&PolicySource { roles: [("r".to_owned(), role)].into(), ..PolicySource::default() }).unwrap();
    assert!(ask(&policies, "r/-", "a/x\" || true || \"", None).contains("ALLOW"));
    assert!(ask(&policies, "r/-", "b/anything", None).contains("DENY"));
}

#[test]
fn allowlists_can_be_read() {
    let policies = Policies::compile(&source()).unwrap();
    let list = |role: &str, task: Option<&str>| policies.allowlist(Some(&RoleName::from(role)), task.map(TaskName::from).as_ref());
    assert_eq!(
        list("analyst", Some("summarize")).unwrap(),
        names(&["practice/generate_summary", "practice/read_file", "practice/search_database"])
    );
    assert_eq!(list("analyst", None).unwrap().len(), 4);
    assert_eq!(list("analyst", Some("unknown")).unwrap(), names(&[]));
    assert_eq!(list("worker", Some("mail")).unwrap(), names(&["mail/send"]));
    assert_eq!(list("nobody", None), None);
}

#[test]
fn faults_of_cedar_files_have_places() {
    let errors = |text: &str| {
        let errors = Policies::compile(&with(text)).err().unwrap();
        errors.iter().map(|e| format!("{e}\n")).collect::<String>()
    };
    let mut out = String::new();
    for text in [
        "permit (principal, action, resource)\n  when { context.x = 1 };\n",
        "permit (principal, action == Action::\"call_tol\", resource);\n",
        "\nforbid (principal, action, resource == Tools::\"x\");\n",
        "permit (principal == ?principal, action, resource);\n",
        "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);\n",
        "@id(\"role:analyst\") permit (principal, action, resource);\n",
    ] {
        out += &errors(text);
    }
    insta::assert_snapshot!(out);
}

#[test]
fn the_digest_changes_with_everything_that_decides() {
    let digest = |source: &PolicySource| Policies::compile(source).unwrap().digest();
    let plain = source();
    assert_eq!(digest(&plain), digest(&source()));
    let mut reads = source();
    reads.servers.clear();
    let mut constraint = source();
    constraint.roles.get_mut("payer").unwrap().constraints[0].max = Some(2000);
    for changed in [reads, constraint, with("permit (principal, action, resource);")] {
        assert_ne!(digest(&plain), digest(&changed));
    }
}

proptest::proptest! {
    /// The slice decides as all policies together would.
    #[test]
    fn a_slice_decides_like_the_whole_set(role in 0usize..6, task in 0usize..4, tool in 0usize..9, amount in -5i64..2000, kind in 0usize..4) {
        let source = with("@id(\"night\") forbid (principal in Role::\"payer\", action, resource) when { context has task && context.task == \"mail\" };
            @id(\"boss\") permit (principal in Role::\"boss\", action in [Action::\"call_tool\", Action::\"other\"], resource);");
        let policies = Policies::compile(&source).unwrap();
        let role = ["analyst", "payer", "auditor", "worker", "boss", "-"][role];
        let who = format!("{role}/{}", ["-", "summarize", "mail", "x"][task]);
        let tool = ["practice/read_file", "practice/send_data", "files/a", "bank/pay", "bank/read", "mail/send", "evil/x", "trusted/t", "bank/"][tool];
        let (server, name) = tool.split_once('/').unwrap();
        let what = format!("{server}/{}{name}", ["", "resource:", "prompt:", "method:"][kind]);
        let arguments = Some(json!({ "amount": amount }));
        let fast = ask(&policies, &who, &what, arguments.clone());
        let slow = ask(&policies.unsliced(), &who, &what, arguments);
        proptest::prop_assert_eq!(fast, slow);
    }

    #[test]
    fn hostile_arguments_never_panic(text in "\\PC{0,60}", number in proptest::num::f64::ANY, deep in 0usize..300) {
        let policies = Policies::compile(&with("permit (principal, action, resource) when { context.args has x };")).unwrap();
        let nested = (0..deep).fold(json!(text.clone()), |inner, i| if i % 2 == 0 { json!([inner]) } else { json!({ text.clone(): inner }) });
        let wide: Vec<u64> = (0..5000).collect();
        for arguments in [nested, json!({ text.clone(): number }), json!(number), json!({"x": wide})] {
            let _ = ask(&policies, "payer/-", "bank/pay", Some(arguments));
        }
    }
}

#[test]
fn the_cache_mixes_up_nothing() {
    // Parts that read the same when they are put together without their lengths.
    let policies =
        Policies::compile(&with("@id(\"night\") forbid (principal, action, resource == Tool::\"files/x\") when { context.hour < 8 };"))
            .unwrap();
    for _ in 0..2 {
        assert!(ask(&policies, "payer/-", "bank/read", Some(json!({}))).contains("ALLOW"));
        assert!(ask(&policies, "payer/-", "bank/read", Some(json!({"path": "x"}))).contains("DENY"), "the arguments count");
        assert!(ask(&policies, "analyst/-", "bank/read", None).contains("DENY"));
        assert!(ask(&policies, "worker/mail", "mail/send", None).contains("ALLOW"));
        assert!(ask(&policies, "worker/-", "mail/send", None).contains("DENY"));
        assert!(ask(&policies, "auditor/-", "files/read_file", None).contains("ALLOW"));
        assert!(ask(&policies, "auditor/-", "files/resource:read_file", None).contains("ALLOW"));
        assert!(ask_at(&policies, "auditor/-", "trusted/t", None, "2026-04-07T10:00:00Z", true).contains("ALLOW"));
        assert!(ask_at(&policies, "auditor/-", "trusted/t", None, "2026-04-07T10:00:00Z", false).contains("DENY"));
        let night = |hour: &str| ask_at(&policies, "analyst/-", "files/x", None, &format!("2026-04-07T{hour}:00:00Z"), false);
        assert!(night("10").contains("ALLOW") && night("07").contains("DENY  by night"));
    }
}

#[test]
fn facts_cannot_be_read_under_another_spelling() {
    for text in [
        "forbid (principal, action, resource) when { context[\"hour\"] < 24 };",
        "forbid (principal, action, resource) when { context[\"h\\u{6f}ur\"] < 24 };",
        "forbid (principal, action, resource) when { context\n  .hour < 24 };",
        "forbid (principal, action, resource) when { context has hour };",
        "forbid (principal, action, resource) when { context has   hour };",
        "forbid (principal, action, resource) when { context // the hour\n .hour < 24 };",
        "forbid (principal, action, resource) when { context. hour < 24 };",
        "forbid (principal, action, resource) when { (context).hour < 24 };",
        "forbid (principal, action, resource) when { context != {} };",
        "forbid (principal, action, resource) when { [context].contains({}) == false };",
    ] {
        let verdict = ask(&Policies::compile(&with(text)).unwrap(), "payer/-", "bank/read", None);
        assert!(verdict.contains("DENY  by extra.cedar#1"), "{text}\n{verdict}");
    }
}

#[test]
fn the_example_of_the_repository_compiles_and_does_what_it_says() {
    let policies = Policies::compile(&with(include_str!("../../../../policies/example.cedar"))).unwrap();
    let pay = |amount: Value, now: &str| ask_at(&policies, "payer/-", "bank/pay", Some(json!({ "amount": amount })), now, false);
    assert!(pay(json!(10), "2026-04-07T10:00:00Z").contains("ALLOW"));
    assert!(pay(json!(10), "2026-04-07T19:00:00Z").contains("DENY  by office-hours:pay: payments are made on workdays"));
    assert!(pay(json!("5000"), "2026-04-07T10:00:00Z").contains("ERROR in amount:pay"));
    assert!(ask(&policies, "auditor/-", "legacy-files/resource:x", None).contains("DENY  by quarantine:legacy-files"));
    assert!(ask(&policies, "-/-", "text/translate", None).contains("ALLOW by extra:"));
}

#[test]
fn policies_can_be_asked_from_many_threads() {
    fn check<T: Send + Sync>() {}
    check::<Policies>();
}
