//! Kinds of work, as data: which tools in which order, how often, by whom and when.

use super::{vocabulary::Growing, world::ToolId};

/// A part of a task's script.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// One call.
    Call(&'static str),
    /// Happens in so many of a hundred cases.
    Maybe(u8, &'static [Step]),
    /// As often as a log-normal number says: its median and spread.
    Repeat(f64, f64, &'static [Step]),
    /// As [`Step::Repeat`], for one thing after the other in a numbered list.
    Through(f64, f64, &'static [Step]),
    /// One of these, by weight.
    Either(&'static [(u8, &'static [Step])]),
}

/// One task.
#[derive(Debug, Clone, Copy)]
pub struct TaskSpec {
    /// Its name.
    pub name: &'static str,
    /// How often it is done, compared with the others of the role.
    pub weight: f64,
    /// Pieces of work in one session: median and spread.
    pub pieces: (f64, f64),
    /// What one piece takes.
    pub script: &'static [Step],
}

/// Who is at work, and so when and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A person with an agent: by day, with pauses to read and think.
    Assisted,
    /// An agent that works by itself on what comes in: by day, without a person's pauses.
    Unattended,
    /// By the clock, at machine speed.
    Scheduled,
    /// As assisted, but around the clock.
    Shifts,
}

/// A kind of work.
#[derive(Debug, Clone, Copy)]
pub struct Archetype {
    /// Its name; roles are called after it.
    pub name: &'static str,
    /// How many of a company's roles are of this kind, compared with others.
    pub share: f64,
    /// Who.
    pub pace: Pace,
    /// Most principals of one role.
    pub people: usize,
    /// Sessions of a principal on a working day.
    pub sessions: f64,
    /// Whether clients say which task they are at.
    pub declares: bool,
    /// Tasks.
    pub tasks: &'static [TaskSpec],
    /// Introduced later.
    pub coming: Option<TaskSpec>,
    /// On the allowlist for the odd case, but in no script.
    pub spare: &'static [&'static str],
    /// Mail domains outside.
    pub partners: Growing,
    /// Web sites.
    pub sites: Growing,
    /// Median and spread of amounts.
    pub amounts: (f64, f64),
    /// How much more at the end of a month.
    pub month_end: f64,
}

use Step::{Call, Either, Maybe, Repeat, Through};

const fn grows(first: usize, daily: f64) -> Growing {
    Growing { first, daily }
}

const BASE: Archetype = Archetype {
    name: "",
    share: 1.0,
    pace: Pace::Assisted,
    people: 6,
    sessions: 5.0,
    declares: false,
    tasks: &[],
    coming: None,
    spare: &[],
    partners: grows(12, 0.15),
    sites: grows(15, 0.3),
    amounts: (400.0, 1.0),
    month_end: 1.0,
};

const fn task(name: &'static str, weight: f64, pieces: (f64, f64), script: &'static [Step]) -> TaskSpec {
    TaskSpec { name, weight, pieces, script }
}

/// Every kind of work.
pub const ARCHETYPES: &[Archetype] = &[
    Archetype {
        name: "support",
        share: 2.0,
        sessions: 7.0,
        declares: true,
        tasks: &[
            task(
                "answer-tickets",
                5.0,
                (3.0, 0.7),
                &[
                    Maybe(60, &[Call("tickets/list_tickets")]),
                    Call("tickets/get_ticket"),
                    Maybe(80, &[Call("crm/get_customer"), Maybe(50, &[Call("crm/list_orders"), Maybe(40, &[Call("crm/get_order")])])]),
                    Maybe(55, &[Call("kb/search_articles"), Repeat(1.3, 0.5, &[Call("kb/get_article")])]),
                    Either(&[
                        (7, &[Call("tickets/reply_ticket"), Maybe(70, &[Call("tickets/update_ticket")])]),
                        (2, &[Call("tickets/assign_ticket")]),
                        (1, &[Call("tickets/update_ticket")]),
                    ]),
                ],
            ),
            task(
                "triage-queue",
                2.0,
                (2.0, 0.6),
                &[
                    Call("tickets/list_tickets"),
                    Repeat(
                        4.0,
                        0.6,
                        &[
                            Call("tickets/get_ticket"),
                            Maybe(70, &[Call("tickets/update_ticket")]),
                            Maybe(30, &[Call("tickets/assign_ticket")]),
                        ],
                    ),
                ],
            ),
            task(
                "write-articles",
                0.5,
                (1.2, 0.4),
                &[
                    Call("kb/search_articles"),
                    Repeat(2.0, 0.6, &[Call("kb/get_article")]),
                    Either(&[(2, &[Call("kb/update_article")]), (1, &[Call("kb/create_article")])]),
                ],
            ),
        ],
        coming: Some(task(
            "call-back",
            1.0,
            (2.0, 0.5),
            &[
                Call("crm/search_customers"),
                Call("crm/get_customer"),
                Call("crm/list_orders"),
                Maybe(60, &[Call("crm/add_note")]),
                Call("tickets/create_ticket"),
            ],
        )),
        spare: &[
            "crm/search_customers",
            "crm/merge_customers",
            "tickets/create_ticket",
            "tickets/delete_ticket",
            "chat/post_message",
            "mail/send_mail",
            "crm/add_note",
            "crm/export_customers",
        ],
        partners: grows(260, 6.0),
        ..BASE
    },
    Archetype {
        name: "analyst",
        share: 1.5,
        people: 4,
        sessions: 4.0,
        tasks: &[
            task(
                "explore-data",
                3.0,
                (2.0, 0.7),
                &[
                    Maybe(40, &[Call("warehouse/list_tables")]),
                    Maybe(60, &[Call("warehouse/describe_table")]),
                    Repeat(3.5, 0.8, &[Call("warehouse/run_query"), Maybe(15, &[Call("warehouse/describe_table")])]),
                    Maybe(40, &[Call("files/write_file")]),
                ],
            ),
            task(
                "weekly-report",
                1.0,
                (1.0, 0.3),
                &[
                    Repeat(5.0, 0.4, &[Call("warehouse/run_query")]),
                    Call("warehouse/save_report"),
                    Maybe(80, &[Call("mail/send_internal")]),
                    Maybe(40, &[Call("chat/post_message")]),
                ],
            ),
        ],
        coming: Some(task(
            "check-quality",
            1.0,
            (1.5, 0.5),
            &[Call("warehouse/list_tables"), Repeat(4.0, 0.5, &[Call("warehouse/describe_table"), Call("warehouse/run_query")])],
        )),
        spare: &[
            "warehouse/export_table",
            "files/read_file",
            "files/list_directory",
            "files/share_file",
            "mail/send_mail",
            "chat/read_channel",
        ],
        month_end: 1.5,
        ..BASE
    },
    Archetype {
        name: "developer",
        share: 2.0,
        sessions: 6.0,
        tasks: &[
            task(
                "fix-bug",
                4.0,
                (1.2, 0.5),
                &[
                    Maybe(50, &[Call("tickets/get_ticket")]),
                    Repeat(2.0, 0.6, &[Call("repo/search_code"), Repeat(2.5, 0.7, &[Call("repo/read_source")])]),
                    Maybe(70, &[Call("repo/create_branch")]),
                    Repeat(
                        2.5,
                        0.8,
                        &[Repeat(1.6, 0.6, &[Call("repo/edit_source")]), Call("ci/run_tests"), Maybe(50, &[Call("ci/read_log")])],
                    ),
                    Maybe(75, &[Call("repo/open_pull_request")]),
                ],
            ),
            task(
                "review",
                2.0,
                (1.5, 0.6),
                &[
                    Call("repo/list_branches"),
                    Call("repo/review_diff"),
                    Repeat(2.0, 0.7, &[Call("repo/read_source")]),
                    Maybe(40, &[Call("chat/post_message")]),
                ],
            ),
            task(
                "read-up",
                1.0,
                (1.5, 0.6),
                &[
                    Maybe(70, &[Call("web/search_web")]),
                    Repeat(2.0, 0.6, &[Call("web/fetch_page")]),
                    Maybe(50, &[Call("repo/search_code")]),
                ],
            ),
        ],
        coming: Some(task(
            "tidy-branches",
            0.7,
            (1.0, 0.4),
            &[Call("repo/list_branches"), Repeat(3.0, 0.6, &[Call("repo/review_diff"), Call("repo/delete_branch")])],
        )),
        spare: &[
            "repo/delete_branch",
            "ci/deploy",
            "tickets/list_tickets",
            "monitor/read_logs",
            "files/read_file",
            "vault/list_secrets",
            "web/post_form",
        ],
        sites: grows(120, 5.0),
        ..BASE
    },
    Archetype {
        name: "finance",
        share: 1.5,
        people: 4,
        sessions: 5.0,
        declares: true,
        tasks: &[
            task(
                "book-invoices",
                4.0,
                (1.5, 0.5),
                &[
                    Call("erp/list_invoices"),
                    Repeat(
                        5.0,
                        0.7,
                        &[
                            Call("erp/get_invoice"),
                            Either(&[(6, &[Call("erp/book_payment")]), (2, &[Call("erp/match_payment")]), (2, &[])]),
                        ],
                    ),
                ],
            ),
            task(
                "pay-suppliers",
                2.0,
                (1.0, 0.3),
                &[
                    Call("payments/list_payments"),
                    Repeat(3.0, 0.6, &[Call("erp/get_invoice"), Call("payments/prepare_payment")]),
                    Maybe(60, &[Call("payments/approve_payment")]),
                ],
            ),
            task(
                "remind-debtors",
                1.0,
                (1.0, 0.3),
                &[
                    Call("erp/list_invoices"),
                    Repeat(4.0, 0.6, &[Call("erp/get_invoice"), Call("crm/get_customer"), Call("mail/send_mail")]),
                ],
            ),
        ],
        coming: Some(task(
            "check-vat",
            0.8,
            (1.0, 0.4),
            &[Call("erp/list_invoices"), Repeat(4.0, 0.5, &[Call("erp/get_invoice")]), Call("files/write_file")],
        )),
        spare: &[
            "erp/create_invoice",
            "erp/cancel_invoice",
            "erp/change_bank_account",
            "erp/export_ledger",
            "payments/refund",
            "files/read_file",
            "crm/search_customers",
        ],
        partners: grows(90, 1.0),
        amounts: (1_800.0, 1.3),
        month_end: 2.2,
        ..BASE
    },
    Archetype {
        name: "hr",
        people: 3,
        sessions: 4.0,
        tasks: &[
            task(
                "screen-applications",
                3.0,
                (1.0, 0.4),
                &[
                    Maybe(50, &[Call("hr/search_staff")]),
                    Repeat(5.0, 0.7, &[Call("hr/read_application"), Maybe(25, &[Call("mail/send_mail")])]),
                ],
            ),
            task(
                "absences",
                2.0,
                (2.0, 0.6),
                &[Call("hr/search_staff"), Call("hr/get_employee"), Call("hr/record_absence"), Maybe(30, &[Call("calendar/list_events")])],
            ),
            task("interviews", 1.0, (1.5, 0.5), &[Call("calendar/find_slot"), Call("calendar/create_event"), Call("mail/send_mail")]),
        ],
        coming: Some(task(
            "onboard",
            0.7,
            (1.0, 0.3),
            &[Call("hr/get_employee"), Repeat(2.0, 0.3, &[Call("mail/send_internal")]), Call("calendar/create_event")],
        )),
        spare: &["hr/update_salary", "hr/terminate_contract", "files/read_file", "files/share_file", "chat/direct_message"],
        partners: grows(140, 4.0),
        amounts: (4_200.0, 0.3),
        ..BASE
    },
    Archetype {
        name: "sre",
        people: 5,
        sessions: 4.0,
        tasks: &[
            task(
                "health-check",
                3.0,
                (1.5, 0.5),
                &[
                    Call("monitor/list_alerts"),
                    Repeat(2.5, 0.6, &[Call("monitor/query_metrics"), Maybe(40, &[Call("monitor/read_logs")])]),
                    Maybe(30, &[Call("ops/describe_host")]),
                ],
            ),
            task(
                "roll-out",
                1.5,
                (1.0, 0.3),
                &[
                    Call("ci/read_log"),
                    Call("ci/deploy"),
                    Repeat(2.0, 0.5, &[Call("monitor/query_metrics")]),
                    Maybe(10, &[Call("ci/rollback")]),
                    Call("chat/post_message"),
                ],
            ),
            task(
                "capacity",
                1.0,
                (1.2, 0.4),
                &[Repeat(3.0, 0.6, &[Call("monitor/query_metrics"), Call("ops/describe_host")]), Maybe(50, &[Call("ops/scale_service")])],
            ),
        ],
        coming: Some(task(
            "rotate-keys",
            0.5,
            (1.0, 0.3),
            &[Call("vault/list_secrets"), Repeat(2.0, 0.4, &[Call("vault/rotate_secret")]), Call("ops/restart_service")],
        )),
        spare: &[
            "ops/run_command",
            "ops/restart_service",
            "ops/change_firewall",
            "monitor/silence_alert",
            "vault/get_secret",
            "vault/list_secrets",
            "web/fetch_page",
            "web/post_form",
        ],
        sites: grows(40, 1.0),
        ..BASE
    },
    Archetype {
        name: "on-call",
        share: 0.7,
        pace: Pace::Shifts,
        people: 4,
        sessions: 5.0,
        tasks: &[
            task(
                "handle-alert",
                4.0,
                (1.2, 0.6),
                &[
                    Call("monitor/list_alerts"),
                    Repeat(2.0, 0.8, &[Call("monitor/query_metrics"), Maybe(60, &[Call("monitor/read_logs")])]),
                    Maybe(50, &[Call("ops/describe_host"), Maybe(50, &[Call("ops/run_command")])]),
                    Maybe(35, &[Call("ops/restart_service"), Call("monitor/query_metrics")]),
                    Maybe(40, &[Call("chat/post_message")]),
                    Maybe(20, &[Call("monitor/silence_alert")]),
                ],
            ),
            task("hand-over", 1.0, (1.0, 0.2), &[Call("monitor/list_alerts"), Call("chat/read_channel"), Call("chat/post_message")]),
        ],
        spare: &[
            "ops/scale_service",
            "ci/rollback",
            "ci/deploy",
            "vault/get_secret",
            "ops/change_firewall",
            "repo/read_source",
            "mail/send_internal",
        ],
        ..BASE
    },
    Archetype {
        name: "marketing",
        people: 5,
        sessions: 4.0,
        tasks: &[
            task(
                "campaign",
                2.0,
                (1.2, 0.5),
                &[
                    Maybe(70, &[Call("web/search_web"), Repeat(2.0, 0.6, &[Call("web/fetch_page")])]),
                    Call("files/read_file"),
                    Repeat(1.5, 0.5, &[Call("files/write_file")]),
                    Maybe(30, &[Call("chat/post_message")]),
                ],
            ),
            task(
                "newsletter",
                1.0,
                (1.0, 0.4),
                &[Call("files/read_file"), Call("files/write_file"), Repeat(4.0, 0.7, &[Call("mail/send_mail")])],
            ),
            task(
                "watch-rivals",
                1.0,
                (1.5, 0.6),
                &[Call("web/search_web"), Repeat(3.5, 0.7, &[Call("web/fetch_page")]), Maybe(50, &[Call("files/write_file")])],
            ),
        ],
        coming: Some(task(
            "event-plan",
            0.8,
            (1.2, 0.4),
            &[Call("calendar/find_slot"), Call("calendar/create_event"), Repeat(2.0, 0.5, &[Call("mail/send_mail")])],
        )),
        spare: &[
            "crm/export_customers",
            "crm/search_customers",
            "files/share_file",
            "files/delete_file",
            "mail/search_mail",
            "web/post_form",
        ],
        partners: grows(180, 5.0),
        sites: grows(220, 9.0),
        ..BASE
    },
    Archetype {
        name: "legal",
        share: 0.8,
        people: 3,
        sessions: 3.0,
        tasks: &[
            task(
                "review-contract",
                3.0,
                (1.2, 0.4),
                &[
                    Call("contracts/search_contracts"),
                    Repeat(1.6, 0.6, &[Call("contracts/read_contract"), Repeat(2.0, 0.7, &[Call("contracts/comment_contract")])]),
                    Maybe(40, &[Call("mail/send_mail")]),
                ],
            ),
            task(
                "discovery",
                1.0,
                (1.5, 0.6),
                &[Call("mail/search_mail"), Repeat(4.0, 0.8, &[Call("mail/read_mail")]), Maybe(50, &[Call("files/write_file")])],
            ),
        ],
        coming: None,
        spare: &["contracts/sign_contract", "files/share_file", "files/read_file", "hr/get_employee"],
        partners: grows(35, 0.5),
        ..BASE
    },
    Archetype {
        name: "procurement",
        people: 3,
        sessions: 4.0,
        declares: true,
        tasks: &[
            task(
                "source-quotes",
                2.0,
                (1.2, 0.4),
                &[Call("procure/search_suppliers"), Repeat(3.0, 0.5, &[Call("procure/get_supplier"), Call("procure/request_quote")])],
            ),
            task(
                "order",
                2.0,
                (1.5, 0.6),
                &[
                    Call("procure/get_supplier"),
                    Call("procure/create_order"),
                    Maybe(60, &[Call("procure/approve_order")]),
                    Maybe(40, &[Call("mail/send_internal")]),
                ],
            ),
            task(
                "check-invoices",
                1.0,
                (1.0, 0.4),
                &[Call("erp/list_invoices"), Repeat(3.0, 0.6, &[Call("erp/get_invoice"), Call("erp/match_payment")])],
            ),
        ],
        coming: None,
        spare: &["mail/send_mail", "contracts/read_contract", "files/read_file", "web/search_web", "web/fetch_page", "erp/create_invoice"],
        partners: grows(70, 0.8),
        amounts: (900.0, 1.2),
        month_end: 1.4,
        ..BASE
    },
    Archetype {
        name: "data-entry",
        pace: Pace::Unattended,
        people: 4,
        sessions: 8.0,
        declares: true,
        tasks: &[
            task(
                "enter-claims",
                4.0,
                (1.0, 0.2),
                &[Through(
                    12.0,
                    0.6,
                    &[Call("forms/read_scan"), Either(&[(8, &[Call("forms/save_record")]), (1, &[Call("forms/flag_record")]), (1, &[])])],
                )],
            ),
            task(
                "check-backlog",
                1.0,
                (1.0, 0.3),
                &[Repeat(4.0, 0.5, &[Call("forms/next_record"), Call("forms/read_scan"), Maybe(50, &[Call("forms/flag_record")])])],
            ),
        ],
        coming: None,
        spare: &["crm/search_customers", "crm/get_customer", "crm/update_customer", "mail/send_internal"],
        amounts: (220.0, 0.9),
        month_end: 1.3,
        ..BASE
    },
    Archetype {
        name: "researcher",
        people: 4,
        sessions: 4.0,
        tasks: &[
            task(
                "dig",
                3.0,
                (2.0, 0.7),
                &[
                    Repeat(1.6, 0.6, &[Call("web/search_web"), Repeat(3.0, 0.8, &[Call("web/fetch_page")])]),
                    Maybe(50, &[Call("files/write_file")]),
                ],
            ),
            task(
                "summarise",
                1.0,
                (1.0, 0.4),
                &[
                    Call("files/list_directory"),
                    Repeat(4.0, 0.6, &[Call("files/read_file")]),
                    Call("files/write_file"),
                    Maybe(40, &[Call("mail/send_internal")]),
                ],
            ),
        ],
        coming: None,
        spare: &["files/share_file", "files/search_files", "mail/send_mail", "chat/post_message", "kb/create_article"],
        sites: grows(700, 40.0),
        ..BASE
    },
    Archetype {
        name: "assistant",
        people: 6,
        sessions: 6.0,
        tasks: &[
            task(
                "inbox",
                3.0,
                (1.5, 0.6),
                &[
                    Call("mail/search_mail"),
                    Repeat(
                        3.0,
                        0.7,
                        &[
                            Call("mail/read_mail"),
                            Maybe(
                                45,
                                &[Either(&[
                                    (3, &[Call("mail/send_internal")]),
                                    (2, &[Call("mail/send_mail")]),
                                    (1, &[Call("mail/draft_mail")]),
                                ])],
                            ),
                        ],
                    ),
                ],
            ),
            task(
                "meetings",
                2.0,
                (1.5, 0.5),
                &[
                    Call("calendar/list_events"),
                    Repeat(1.4, 0.5, &[Call("calendar/find_slot")]),
                    Call("calendar/create_event"),
                    Maybe(40, &[Call("chat/direct_message")]),
                ],
            ),
            task(
                "catch-up",
                1.0,
                (1.2, 0.4),
                &[
                    Repeat(2.5, 0.5, &[Call("chat/read_channel")]),
                    Maybe(40, &[Call("chat/search_messages")]),
                    Maybe(30, &[Call("chat/post_message")]),
                ],
            ),
        ],
        coming: None,
        spare: &[
            "calendar/cancel_event",
            "mail/add_forward_rule",
            "files/read_file",
            "files/list_directory",
            "files/share_file",
            "web/search_web",
            "hr/search_staff",
        ],
        partners: grows(120, 2.5),
        ..BASE
    },
    Archetype {
        name: "night-batch",
        share: 1.0,
        pace: Pace::Scheduled,
        people: 2,
        sessions: 2.0,
        declares: true,
        tasks: &[
            task(
                "reconcile",
                2.0,
                (1.0, 0.1),
                &[
                    Call("payments/list_payments"),
                    Through(60.0, 0.3, &[Call("erp/get_invoice"), Maybe(60, &[Call("erp/match_payment")])]),
                    Call("files/write_file"),
                ],
            ),
            task(
                "sync-customers",
                1.0,
                (1.0, 0.1),
                &[
                    Call("crm/search_customers"),
                    Through(90.0, 0.25, &[Call("crm/get_customer"), Maybe(20, &[Call("crm/update_customer")])]),
                ],
            ),
            task(
                "nightly-figures",
                1.0,
                (1.0, 0.1),
                &[
                    Call("warehouse/list_tables"),
                    Repeat(12.0, 0.15, &[Call("warehouse/run_query")]),
                    Call("warehouse/save_report"),
                    Call("mail/send_internal"),
                ],
            ),
        ],
        coming: None,
        spare: &["warehouse/export_table", "erp/export_ledger", "mail/send_mail", "chat/post_message", "crm/export_customers"],
        month_end: 1.6,
        ..BASE
    },
];

/// Every tool of a script, in order of appearance, each once.
pub fn tools_of(script: &[Step], known: &mut Vec<&'static str>) {
    for step in script {
        match step {
            Call(tool) if known.contains(tool) => {}
            Call(tool) => known.push(tool),
            Maybe(_, steps) | Repeat(_, _, steps) | Through(_, _, steps) => tools_of(steps, known),
            Either(ways) => ways.iter().for_each(|(_, steps)| tools_of(steps, known)),
        }
    }
}

/// A tool that came later joins the scripts after this one of the same server.
pub fn joins_after(world: &super::world::World, new: ToolId) -> Option<ToolId> {
    let new = world.tool(new);
    let like = |about: &super::world::Tool| about.spec.arguments.first().map(|(_, about)| *about);
    let fits = |tool: &&super::world::Tool| tool.server == new.server && tool.full != new.full && like(tool) == like(new);
    world.tools[..world.coming].iter().find(fits).and_then(|tool| world.named(&tool.full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::world::World;

    #[test]
    fn every_tool_that_is_named_exists() {
        let world = World::new();
        for archetype in ARCHETYPES {
            let mut named: Vec<&str> = archetype.spare.to_vec();
            archetype.tasks.iter().chain(&archetype.coming).for_each(|task| tools_of(task.script, &mut named));
            for tool in named {
                assert!(world.named(tool).is_some(), "{} names {tool}", archetype.name);
            }
        }
        for new in world.later() {
            assert!(joins_after(&world, new).is_some(), "{}", world.tool(new).full);
        }
    }
}
