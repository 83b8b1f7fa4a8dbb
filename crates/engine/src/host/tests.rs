use super::{claude_code::Post, gen_ai, *};
use custody_model::{Build, ENTRY_VERSION, Entry, HostSource, HostWord, LeafIndex, SessionId, TurnKind};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

fn told(event: Value, transcript: Vec<Value>) -> Told {
    let post = json!({"v": 1, "event": event, "transcript": transcript});
    Post::read(post.to_string().as_bytes()).unwrap().told().unwrap()
}

fn event(name: &str, more: Value) -> Value {
    let mut event = json!({"session_id": "8c35", "transcript_path": "/t/8c35.jsonl", "cwd": "/work", "hook_event_name": name});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

#[test]
fn events_of_claude_code_in_custodys_words() {
    let prompt = told(event("UserPromptSubmit", json!({"prompt": "Sum up q1.txt"})), vec![]);
    assert_eq!((prompt.word, prompt.detail.host_session.as_deref()), (HostWord::UserTurn, Some("8c35")));
    assert_eq!((prompt.detail.turns[0].what, prompt.detail.turns[0].text.as_str()), (TurnKind::User, "Sum up q1.txt"));

    let start = told(event("SessionStart", json!({"source": "startup", "model": "claude-opus-5"})), vec![]);
    assert_eq!((start.word, start.detail.build.model.as_deref()), (HostWord::SessionStarted, Some("claude-opus-5")));

    let bash = json!({"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "ls"}});
    let called = told(event("PreToolUse", bash), vec![]);
    assert_eq!((called.word, called.detail.turns[0].text.as_str()), (HostWord::ToolCalled, r#"{"command":"ls"}"#));
    assert_eq!(called.detail.turns[0].call.as_deref(), Some("toolu_1"));

    let read = json!({"tool_name": "Read", "tool_response": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]});
    assert_eq!(told(event("PostToolUse", read), vec![]).detail.turns[0].text, "one\ntwo");
    let mcp = json!({"tool_name": "mcp__files__read", "tool_input": {"path": "/etc"}});
    assert_eq!(told(event("PreToolUse", mcp), vec![]).detail.turns[0].text, "", "the message has it");
    assert_eq!(told(event("SessionEnd", json!({"reason": "clear"})), vec![]).word, HostWord::SessionEnded);
    assert_eq!(told(event("SomethingNew", json!({})), vec![]).word, HostWord::Other);
}

#[test]
fn a_transcript_says_what_the_agent_thought_and_which_model_it_was() {
    let line = json!({"type": "assistant", "version": "2.1.9", "message": {"model": "claude-opus-5-1", "content": [
        {"type": "thinking", "thinking": "They want a sum."}, {"type": "text", "text": "I read the file."}, {"type": "tool_use", "name": "Read"}]}});
    let notice = json!({"type": "assistant", "message": {"model": "<synthetic>", "content": "No response"}});
    let user = json!({"type": "user", "message": {"content": "Sum up"}});
    let told = told(event("Stop", json!({"last_assistant_message": "I read the file."})), vec![user, line, notice, json!(7), json!({})]);
    assert_eq!(told.word, HostWord::TurnEnded);
    let texts: Vec<&str> = told.detail.turns.iter().map(|turn| turn.text.as_str()).collect();
    assert_eq!(texts, ["Sum up", "They want a sum.", "I read the file.", "No response"]);
    assert!(told.detail.turns.iter().all(|turn| turn.transcript));
    let build = told.detail.build;
    assert_eq!((build.version.as_deref(), build.answered.as_deref()), (Some("2.1.9"), Some("claude-opus-5-1")));
}

#[test]
fn what_is_no_event_is_refused_and_what_is_long_is_cut() {
    for odd in ["", "[]", "{}", r#"{"v":2,"event":{}}"#, r#"{"v":1,"event":{"a":1},"transcript":7}"#] {
        assert!(Post::read(odd.as_bytes()).is_err(), "{odd}");
    }
    for odd in [
        json!(null),
        json!(7),
        json!({"session_id": "a"}),
        json!({"hook_event_name": "Stop"}),
        json!({"hook_event_name": "Stop", "session_id": 7}),
    ] {
        let post = json!({"v": 1, "event": odd}).to_string();
        assert!(Post::read(post.as_bytes()).unwrap().told().is_err(), "{post}");
    }
    let long = told(event("UserPromptSubmit", json!({"prompt": "ä".repeat(MAX_TEXT)})), vec![]);
    assert_eq!((long.detail.turns[0].text.len(), long.detail.turns[0].cut), (MAX_TEXT, MAX_TEXT as u64));
    let line = json!({"type": "user", "message": {"content": "x".repeat(MAX_TEXT)}});
    let many = told(event("Stop", json!({})), vec![line; MAX_TURNS * 2]);
    assert!(many.detail.turns.len() <= MAX_TURNS);
    assert!(many.detail.turns.iter().map(|turn| turn.text.len()).sum::<usize>() <= MAX_ALL);
    assert!(many.detail.cut > 0);
}

fn spans(attributes: Value) -> Vec<Told> {
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "planner"}}]},
        "scopeSpans": [{"spans": [{"name": "chat", "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736", "attributes": attributes}]}]
    }]});
    let records = gen_ai::traces_of_json(request.to_string().as_bytes()).unwrap();
    assert_eq!(records[0].trace.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    records.iter().filter_map(gen_ai::Record::told).collect()
}

#[test]
fn messages_of_gen_ai_as_text_and_structured() {
    let messages = json!([{"role": "user", "parts": [{"type": "text", "content": "Weather in Paris?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Paris"}}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rainy"}]}]);
    let text = json!([{"key": "gen_ai.input.messages", "value": {"stringValue": messages.to_string()}},
        {"key": "gen_ai.request.model", "value": {"stringValue": "m-1"}}, {"key": "gen_ai.response.model", "value": {"stringValue": "m-1-0901"}}]);
    let part = |kind: &str, content: &str| {
        json!({"kvlistValue": {"values": [
        {"key": "type", "value": {"stringValue": kind}}, {"key": "content", "value": {"stringValue": content}}]}})
    };
    let structured = json!([{"key": "gen_ai.input.messages", "value": {"arrayValue": {"values": [{"kvlistValue": {"values": [
        {"key": "role", "value": {"stringValue": "user"}},
        {"key": "parts", "value": {"arrayValue": {"values": [part("text", "Weather in Paris?")]}}}]}}]}}}]);
    let first = spans(text).remove(0);
    let said: Vec<(TurnKind, &str)> = first.detail.turns.iter().map(|turn| (turn.what, turn.text.as_str())).collect();
    assert_eq!(said, [(TurnKind::User, "Weather in Paris?"), (TurnKind::ToolCall, r#"{"city":"Paris"}"#), (TurnKind::ToolResult, "rainy")]);
    assert_eq!(first.word, HostWord::UserTurn);
    let build = &first.detail.build;
    assert_eq!(
        (build.program.as_deref(), build.model.as_deref(), build.answered.as_deref()),
        (Some("planner"), Some("m-1"), Some("m-1-0901"))
    );
    assert_eq!(spans(structured).remove(0).detail.turns[0].text, "Weather in Paris?");
    assert!(spans(json!([{"key": "http.url", "value": {"stringValue": "x"}}])).is_empty(), "no business of ours");
    assert!(gen_ai::traces_of_json(b"{}").is_err() && gen_ai::logs_of_json(b"7").is_err());
}

#[test]
fn older_events_and_log_records() {
    let request = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"eventName": "gen_ai.user.message", "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "Hello"}}]}}},
        {"attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.system.message"}}],
         "body": {"kvlistValue": {"values": [{"key": "content", "value": {"stringValue": "Be brief"}}]}}},
        {"eventName": "other", "body": {"stringValue": "x"}}]}]}]});
    let records = gen_ai::logs_of_json(request.to_string().as_bytes()).unwrap();
    let told: Vec<Told> = records.iter().filter_map(gen_ai::Record::told).collect();
    let said: Vec<(TurnKind, &str)> = told.iter().flat_map(|told| &told.detail.turns).map(|turn| (turn.what, turn.text.as_str())).collect();
    assert_eq!(said, [(TurnKind::User, "Hello"), (TurnKind::System, "Be brief")]);
}

#[test]
fn deep_values_end() {
    let deep = |levels: usize| (0..levels).fold(json!({"stringValue": "x"}), |inner, _| json!({"arrayValue": {"values": [inner]}}));
    let with = |value: Value| json!([{"key": "gen_ai.input.messages", "value": value}, {"key": "gen_ai.request.model", "value": {"stringValue": "m"}}]);
    assert!(spans(with(deep(34)))[0].detail.turns.is_empty());
    let too_deep = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": with(deep(200))}]}]}]}).to_string();
    assert!(gen_ai::traces_of_json(too_deep.as_bytes()).is_err());
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

#[test]
fn whether_a_user_is_there() {
    let session = SessionId(uuid::Uuid::from_u128(1));
    let mut watch = Watch::since(at(0), SignedDuration::from_mins(30));
    assert_eq!(watch.user(session, at(1)), None, "not seen from its beginning");
    watch.began(session);
    assert_eq!(watch.user(session, at(10)), None, "the conversation may be older than the daemon");
    assert_eq!(watch.user(session, at(1800)), Some(UserFacts { turns: 0, over: None }));
    watch.told(session, HostWord::ToolCalled, at(1801));
    assert_eq!(watch.user(session, at(1801)), None, "a conversation whose beginning was not told");
    watch.told(session, HostWord::SessionStarted, at(1802));
    assert_eq!(watch.user(session, at(1802)), Some(UserFacts { turns: 0, over: None }));
    watch.told(session, HostWord::UserTurn, at(1803));
    assert_eq!(watch.user(session, at(1804)), Some(UserFacts { turns: 1, over: None }));
    watch.told(session, HostWord::TurnEnded, at(1810));
    assert_eq!(watch.user(session, at(1830)), Some(UserFacts { turns: 1, over: Some((Over::Turn, 20)) }));
    watch.told(session, HostWord::ToolCalled, at(1831));
    assert_eq!(watch.user(session, at(1831)).unwrap().over, None, "the host itself goes on");
    watch.told(session, HostWord::SessionEnded, at(1840));
    assert_eq!(watch.user(session, at(1845)).unwrap().over, Some((Over::Session, 5)));
    watch.ended(session);
    assert_eq!(watch.user(session, at(1846)), None);
}

#[test]
fn what_changed_of_model_and_program() {
    let session = Some(SessionId(uuid::Uuid::from_u128(1)));
    let entry = |leaf: u64, model: Option<&str>, version: Option<&str>| {
        let build = Build {
            program: Some("claude-code".to_owned()),
            version: version.map(str::to_owned),
            model: model.map(str::to_owned),
            answered: None,
        };
        let detail = serde_json::to_value(HostDetail { build, ..HostDetail::default() }).unwrap();
        let event = Event::HostTold { source: HostSource::ClaudeCode, word: HostWord::Other };
        OpenEntry {
            leaf: LeafIndex(leaf),
            entry: Entry { v: ENTRY_VERSION, at: at(0), session, event, detail: None, body: None },
            detail: Some(detail),
            body: None,
        }
    };
    let all = [entry(1, Some("m-1"), None), entry(2, None, None), entry(3, None, Some("2.1")), entry(4, Some("m-2"), None)];
    let builds = builds(&all);
    assert_eq!(builds.seen.iter().map(|seen| seen.first.0).collect::<Vec<_>>(), [1, 3, 4], "what says less is no other build");
    assert_eq!(builds.changes, ["hook said model m-1, and from entry 4 on m-2"]);
}
