use super::{
    attacks::{check_names, parse},
    engine::{Options, run},
    report::Report,
    roles::Company,
    traffic,
    world::DAY,
};
use custody_engine::{
    detect::Rules,
    policy::{Action, Policies, Query, Verdict},
};

fn options(seed: u64, attacks: &str) -> Options {
    let attacks = parse("attacks.toml", attacks).unwrap();
    Options { roles: 8, learn_days: 2, days: 2, learn_once: false, seed, attacks }
}

fn simulate(options: &Options) -> Report {
    run(options, Rules::standard(), &mut |_| {})
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap()
}

const TWO: &str = r#"
[[attack]]
kind = "unauthorized-tool"
role = "support"
day = 1
at = "10:30"

[[attack]]
kind = "burst-enumeration"
day = 2
"#;

#[test]
fn equal_inputs_give_equal_reports() {
    let one = simulate(&options(7, TWO));
    assert_eq!(json(&one), json(&simulate(&options(7, TWO))));
    assert_ne!(json(&one), json(&simulate(&options(8, TWO))));
    assert!(one.totals.sessions > 50 && one.totals.entries > 2_000, "{}", json(&one));
}

#[test]
fn a_call_outside_of_the_allowlist_is_found_before_it_runs() {
    for seed in [1, 2, 3] {
        let report = simulate(&options(seed, TWO));
        let attack = &report.attacks[0];
        assert!(attack.found() && attack.calls_ran == 0, "{}", json(&report));
        assert_eq!(attack.case.as_ref().unwrap().after_ms, 0);
        assert_eq!(attack.role.as_str(), "support-1");
    }
}

#[test]
fn attacks_change_no_ordinary_traffic() {
    let quiet = simulate(&options(7, ""));
    let busy = simulate(&options(7, TWO));
    assert_eq!(quiet.totals.sessions, busy.totals.sessions);
    assert_eq!(quiet.totals.learned_sessions, busy.totals.learned_sessions);
}

#[test]
fn ordinary_traffic_obeys_its_own_allowlists() {
    for seed in 0..6 {
        let options = Options { roles: 20, learn_days: 1, days: 1, learn_once: false, seed, attacks: Vec::new() };
        let mut company = options.company();
        let origin = options.origin();
        // Also after everything changed that can change.
        for change in super::deploy::draw(&company, seed, origin, 14) {
            super::deploy::apply(&mut company, &change, seed);
        }
        let day = origin + 15 * DAY;
        let policies = Policies::compile(&company.policies(day)).unwrap();
        let mut calls = 0;
        for start in traffic::starts(&company, seed, day / DAY) {
            let session = traffic::compose(&company, seed, start);
            for call in &session.calls {
                calls += 1;
                assert_allowed(&company, &policies, &session, call);
            }
            let times: Vec<i64> = session.calls.iter().map(|call| call.at).collect();
            assert!(times.is_sorted(), "{times:?}");
        }
        assert!(calls > 500, "{calls}");
    }
}

fn assert_allowed(company: &Company, policies: &Policies, session: &traffic::Session, call: &traffic::Call) {
    let principal = &company.principals[session.principal];
    let role = &company.roles[principal.role];
    let tool = company.world.tool(call.tool);
    let query = Query {
        principal: &principal.name,
        role: Some(&role.name),
        task: role.kind.declares.then_some(&role.tasks[session.task].name),
        action: Action::CallTool(tool.spec.name),
        server: &tool.server,
        arguments: Some(&call.arguments),
        read_only_hint: false,
        now: super::world::instant(call.at),
    };
    let verdict = policies.decide(&query);
    assert!(matches!(verdict, Verdict::Allow { .. }), "{}: {} {verdict:?}", principal.name, tool.full);
}

#[test]
fn the_example_has_forty_attacks_of_every_kind() {
    let attacks = parse("example", super::EXAMPLE).unwrap();
    assert_eq!(attacks.len(), 40);
    for kind in super::Kind::ALL {
        assert!(attacks.iter().any(|attack| attack.kind == kind), "{}", kind.as_str());
    }
    let options = Options { roles: 50, learn_days: 7, days: 7, learn_once: false, seed: 2356, attacks };
    check_names("example", super::EXAMPLE, &options.attacks, &options.company(), 7).unwrap();
}

#[test]
fn faults_of_attack_files_have_places() {
    let files = [
        "[[attack]]\nkind = \"burst-enumeration\"\nrole = \"suport\"\n",
        "[[attack]]\nkind = \"burst\"\n",
        "[[attack]]\nkind = \"slow-drip\"\npace = 3\n",
        "[[attack]]\nkind = \"slow-drip\"\n\n[[attack]]\nrole = \"support\"\n",
        "[[attack]]\nkind = \"slow-drip\"\nat = \"25:00\"\n",
        "[[attack]]\nkind = \"slow-drip\"\nday = 3\n",
        "[[attack]]\nkind = \"slow-drip\"\nintensity = 1e9\n",
        "[[attack]]\nkind = \"slow-drip\"\ntools = [\"crm/get_custmer\"]\n",
        "[[attack]]\nkind = \"slow-drip\"\nrole = \"support\"\ntask = \"book-invoices\"\n",
        "[[attack]]\nkind = \"slow-drip\"\nprincipal = \"support-1-agent99\"\n",
        "[[attack]]\nkind = \"steps\"\n",
        "[[attack]]\nkind = \"slow-drip\"\nsteps = [{ tool = \"crm/get_customer\" }]\n",
        "[[attack]]\nkind = \"steps\"\nsteps = [{ tool = \"crm/get_customer\" }, { tool = \"crm/burn\" }]\n",
        "attacks = 1\n",
        "[[attack]\n",
        "{\"attack\": [\n  {\"kind\": \"slow-drip\"},\n  {\"kind\": \"slow-drip\", \"colour\": 1}\n]}",
        "[{\"kind\": \"slow-drip\", \"role\": \"nobody\"}]",
    ];
    let company = options(7, "").company();
    let told = files.map(|text| {
        let fault = match parse("attacks", text) {
            Ok(attacks) => check_names("attacks", text, &attacks, &company, 2).expect_err(text),
            Err(fault) => fault,
        };
        let help = miette::Diagnostic::help(&fault).map(|help| format!(" [{help}]")).unwrap_or_default();
        format!("{fault}{help}")
    });
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn toml_and_json_say_the_same() {
    let json = r#"{"attack": [{"kind": "unauthorized-tool", "role": "support", "day": 1, "at": "10:30"}, {"kind": "burst-enumeration", "day": 2}]}"#;
    let other = Options { attacks: parse("attacks.json", json).unwrap(), ..options(7, "") };
    assert_eq!(self::json(&simulate(&other)), self::json(&simulate(&options(7, TWO))));
}
