//! Servers and tools of the simulated company, as data.

use super::world::{
    About::{self, *},
    Effect::{self, *},
    ServerSpec, ToolSpec,
};

const fn tool(name: &'static str, effect: Effect, bytes: f64, arguments: &'static [(&'static str, About)]) -> ToolSpec {
    ToolSpec { name, effect, arguments, bytes }
}

const STATUS: About = OneOf(&["open", "pending", "solved", "closed"]);
const PRIORITY: About = OneOf(&["low", "normal", "high", "urgent"]);
const FORMAT: About = OneOf(&["csv", "xlsx", "pdf"]);
const PERIOD: About = OneOf(&["day", "week", "month", "quarter"]);

/// Every server.
pub const SERVERS: &[ServerSpec] = &[
    ServerSpec {
        name: "crm",
        tools: &[
            tool("search_customers", Reads, 3_500.0, &[("query", Query), ("limit", Limit)]),
            tool("get_customer", Reads, 1_800.0, &[("id", Customer)]),
            tool("list_orders", Reads, 2_600.0, &[("customer", Customer), ("limit", Limit)]),
            tool("get_order", Reads, 1_500.0, &[("order", Order)]),
            tool("update_customer", Writes, 300.0, &[("id", Customer), ("note", Text)]),
            tool("add_note", Writes, 220.0, &[("customer", Customer), ("text", Text)]),
            tool("merge_customers", Destroys, 350.0, &[("keep", Customer), ("drop", Customer)]),
            tool("delete_customer", Destroys, 180.0, &[("id", Customer)]),
            tool(
                "export_customers",
                Reads,
                240_000.0,
                &[("segment", OneOf(&["retail", "business", "trial", "churned"])), ("format", FORMAT)],
            ),
        ],
        coming: &[tool("summarise_customer", Reads, 2_400.0, &[("id", Customer), ("language", Language)])],
    },
    ServerSpec {
        name: "tickets",
        tools: &[
            tool("list_tickets", Reads, 4_200.0, &[("status", STATUS), ("limit", Limit)]),
            tool("get_ticket", Reads, 2_900.0, &[("ticket", Ticket)]),
            tool("reply_ticket", Writes, 260.0, &[("ticket", Ticket), ("text", Text), ("language", Language)]),
            tool("update_ticket", Writes, 240.0, &[("ticket", Ticket), ("status", STATUS), ("priority", PRIORITY)]),
            tool("create_ticket", Writes, 320.0, &[("customer", Customer), ("text", Text), ("priority", PRIORITY)]),
            tool("assign_ticket", Writes, 200.0, &[("ticket", Ticket), ("to", Colleague)]),
            tool("delete_ticket", Destroys, 150.0, &[("ticket", Ticket)]),
        ],
        coming: &[tool("suggest_reply", Reads, 1_600.0, &[("ticket", Ticket), ("language", Language)])],
    },
    ServerSpec {
        name: "kb",
        tools: &[
            tool("search_articles", Reads, 5_500.0, &[("query", Query), ("limit", Limit)]),
            tool("get_article", Reads, 7_800.0, &[("path", File)]),
            tool("create_article", Writes, 300.0, &[("path", File), ("text", Text), ("language", Language)]),
            tool("update_article", Writes, 280.0, &[("path", File), ("text", Text)]),
        ],
        coming: &[tool("related_articles", Reads, 3_100.0, &[("path", File)])],
    },
    ServerSpec {
        name: "mail",
        tools: &[
            tool("search_mail", Reads, 6_500.0, &[("query", Query), ("limit", Limit)]),
            tool("read_mail", Reads, 5_200.0, &[("message", Ticket)]),
            tool("send_mail", Sends, 190.0, &[("to", Partner), ("subject", Query), ("body", Text)]),
            tool("send_internal", Writes, 190.0, &[("to", Colleague), ("subject", Query), ("body", Text)]),
            tool("draft_mail", Writes, 240.0, &[("to", Partner), ("subject", Query), ("body", Text)]),
            tool("add_forward_rule", Writes, 160.0, &[("to", Colleague), ("query", Query)]),
        ],
        coming: &[tool("schedule_mail", Sends, 210.0, &[("to", Partner), ("body", Text), ("date", Date)])],
    },
    ServerSpec {
        name: "calendar",
        tools: &[
            tool("list_events", Reads, 2_700.0, &[("date", Date)]),
            tool("find_slot", Reads, 900.0, &[("with", Colleague), ("date", Date)]),
            tool("create_event", Writes, 260.0, &[("with", Colleague), ("date", Date), ("title", Query)]),
            tool("cancel_event", Destroys, 140.0, &[("event", Ticket)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "files",
        tools: &[
            tool("list_directory", Reads, 1_900.0, &[("path", Folder)]),
            tool("read_file", Reads, 9_500.0, &[("path", File)]),
            tool("write_file", Writes, 130.0, &[("path", File), ("content", Text)]),
            tool("search_files", Reads, 3_000.0, &[("path", Folder), ("query", Query)]),
            tool("move_file", Writes, 120.0, &[("from", File), ("to", File)]),
            tool("delete_file", Destroys, 110.0, &[("path", File)]),
            tool("share_file", Sends, 220.0, &[("path", File), ("with", Partner)]),
        ],
        coming: &[tool("preview_file", Reads, 3_800.0, &[("path", File)])],
    },
    ServerSpec {
        name: "chat",
        tools: &[
            tool("read_channel", Reads, 4_800.0, &[("channel", Channel), ("limit", Limit)]),
            tool("post_message", Writes, 170.0, &[("channel", Channel), ("text", Text)]),
            tool("search_messages", Reads, 4_100.0, &[("query", Query), ("limit", Limit)]),
            tool("direct_message", Writes, 170.0, &[("to", Colleague), ("text", Text)]),
        ],
        coming: &[tool("summarise_channel", Reads, 2_200.0, &[("channel", Channel), ("period", PERIOD)])],
    },
    ServerSpec {
        name: "web",
        tools: &[
            tool("search_web", ReadsOutside, 6_800.0, &[("query", Query), ("language", Language)]),
            tool("fetch_page", ReadsOutside, 18_000.0, &[("url", Site)]),
            tool("post_form", Sends, 1_400.0, &[("url", Site), ("body", Text)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "warehouse",
        tools: &[
            tool("list_tables", Reads, 3_300.0, &[]),
            tool("describe_table", Reads, 1_700.0, &[("table", Table)]),
            tool("run_query", Reads, 14_000.0, &[("sql", Sql), ("limit", Limit)]),
            tool("save_report", Writes, 240.0, &[("path", File), ("period", PERIOD)]),
            tool("export_table", Reads, 900_000.0, &[("table", Table), ("format", FORMAT)]),
            tool("drop_table", Destroys, 120.0, &[("table", Table)]),
        ],
        coming: &[tool("explain_query", Reads, 2_300.0, &[("sql", Sql)])],
    },
    ServerSpec {
        name: "repo",
        tools: &[
            tool("list_branches", Reads, 1_400.0, &[("repository", Repository)]),
            tool("search_code", Reads, 5_900.0, &[("repository", Repository), ("query", Query)]),
            tool("read_source", Reads, 11_000.0, &[("repository", Repository), ("path", File)]),
            tool("edit_source", Writes, 260.0, &[("repository", Repository), ("path", File), ("content", Text)]),
            tool("create_branch", Writes, 180.0, &[("repository", Repository), ("branch", Branch)]),
            tool("open_pull_request", Writes, 420.0, &[("repository", Repository), ("branch", Branch), ("text", Text)]),
            tool("review_diff", Reads, 13_000.0, &[("repository", Repository), ("branch", Branch)]),
            tool("delete_branch", Destroys, 130.0, &[("repository", Repository), ("branch", Branch)]),
        ],
        coming: &[tool("blame_lines", Reads, 3_600.0, &[("repository", Repository), ("path", File)])],
    },
    ServerSpec {
        name: "ci",
        tools: &[
            tool("run_tests", Writes, 3_700.0, &[("repository", Repository), ("branch", Branch)]),
            tool("read_log", Reads, 21_000.0, &[("repository", Repository), ("branch", Branch)]),
            tool("deploy", Writes, 900.0, &[("service", Service), ("environment", OneOf(&["staging", "production"]))]),
            tool("rollback", Destroys, 700.0, &[("service", Service)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "monitor",
        tools: &[
            tool("list_alerts", Reads, 2_900.0, &[("priority", PRIORITY)]),
            tool("query_metrics", Reads, 6_300.0, &[("service", Service), ("period", PERIOD)]),
            tool("read_logs", Reads, 26_000.0, &[("host", Host), ("query", Query)]),
            tool("silence_alert", Writes, 160.0, &[("service", Service), ("period", PERIOD)]),
        ],
        coming: &[tool("trace_request", Reads, 4_900.0, &[("service", Service)])],
    },
    ServerSpec {
        name: "ops",
        tools: &[
            tool("describe_host", Reads, 1_800.0, &[("host", Host)]),
            tool("restart_service", Writes, 240.0, &[("service", Service), ("host", Host)]),
            tool("scale_service", Writes, 230.0, &[("service", Service), ("count", Limit)]),
            tool("run_command", Writes, 3_200.0, &[("host", Host), ("command", OneOf(&["uptime", "df", "journal", "top", "ss"]))]),
            tool("change_firewall", Writes, 260.0, &[("host", Host), ("rule", Query)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "vault",
        tools: &[
            tool("list_secrets", Reads, 1_100.0, &[("service", Service)]),
            tool("get_secret", Reads, 190.0, &[("name", Secret)]),
            tool("rotate_secret", Writes, 170.0, &[("name", Secret)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "erp",
        tools: &[
            tool("list_invoices", Reads, 4_400.0, &[("status", STATUS), ("limit", Limit)]),
            tool("get_invoice", Reads, 2_100.0, &[("invoice", Invoice)]),
            tool("create_invoice", Writes, 380.0, &[("customer", Customer), ("amount", Amount)]),
            tool("book_payment", Writes, 260.0, &[("invoice", Invoice), ("amount", Amount)]),
            tool("match_payment", Writes, 250.0, &[("invoice", Invoice), ("order", Order)]),
            tool("change_bank_account", Writes, 190.0, &[("customer", Customer), ("account", Account)]),
            tool("cancel_invoice", Destroys, 180.0, &[("invoice", Invoice)]),
            tool("export_ledger", Reads, 400_000.0, &[("period", PERIOD), ("format", FORMAT)]),
        ],
        coming: &[tool("explain_invoice", Reads, 1_900.0, &[("invoice", Invoice)])],
    },
    ServerSpec {
        name: "payments",
        tools: &[
            tool("list_payments", Reads, 3_600.0, &[("date", Date), ("limit", Limit)]),
            tool("prepare_payment", Writes, 320.0, &[("invoice", Invoice), ("amount", Amount), ("account", Account)]),
            tool("approve_payment", Writes, 210.0, &[("invoice", Invoice)]),
            tool("refund", Sends, 240.0, &[("order", Order), ("amount", Amount)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "hr",
        tools: &[
            tool("search_staff", Reads, 3_200.0, &[("query", Query)]),
            tool("get_employee", Reads, 2_200.0, &[("employee", Employee)]),
            tool("read_application", Reads, 8_800.0, &[("employee", Employee)]),
            tool("record_absence", Writes, 210.0, &[("employee", Employee), ("date", Date)]),
            tool("update_salary", Writes, 190.0, &[("employee", Employee), ("amount", Amount)]),
            tool("terminate_contract", Destroys, 170.0, &[("employee", Employee)]),
        ],
        coming: &[tool("rank_applications", Reads, 4_600.0, &[("query", Query), ("limit", Limit)])],
    },
    ServerSpec {
        name: "contracts",
        tools: &[
            tool("search_contracts", Reads, 3_900.0, &[("query", Query), ("limit", Limit)]),
            tool("read_contract", Reads, 24_000.0, &[("contract", Order)]),
            tool("comment_contract", Writes, 260.0, &[("contract", Order), ("text", Text)]),
            tool("sign_contract", Writes, 230.0, &[("contract", Order)]),
        ],
        coming: &[tool("compare_contracts", Reads, 9_100.0, &[("one", Order), ("other", Order)])],
    },
    ServerSpec {
        name: "procure",
        tools: &[
            tool("search_suppliers", Reads, 3_400.0, &[("query", Query), ("limit", Limit)]),
            tool("get_supplier", Reads, 2_000.0, &[("supplier", Customer)]),
            tool("request_quote", Sends, 310.0, &[("supplier", Customer), ("to", Partner), ("text", Text)]),
            tool("create_order", Writes, 340.0, &[("supplier", Customer), ("amount", Amount)]),
            tool("approve_order", Writes, 200.0, &[("order", Order)]),
        ],
        coming: &[],
    },
    ServerSpec {
        name: "forms",
        tools: &[
            tool("next_record", Reads, 1_300.0, &[("queue", OneOf(&["claims", "returns", "surveys"]))]),
            tool("read_scan", Reads, 32_000.0, &[("scan", Ticket)]),
            tool("save_record", Writes, 210.0, &[("scan", Ticket), ("customer", Customer), ("amount", Amount)]),
            tool("flag_record", Writes, 170.0, &[("scan", Ticket), ("reason", OneOf(&["illegible", "duplicate", "incomplete"]))]),
        ],
        coming: &[tool("check_record", Reads, 800.0, &[("scan", Ticket)])],
    },
];
