//! What a new data directory starts with, so that there is something to read at once.

use std::{fs, io, path::Path};

const REPORT: &str = "Quarterly report, first quarter\nPage 1\n\nRevenue grew by four percent over the quarter before. Costs stayed flat.\n\
\u{c}Page 2\n\nThe largest customer renewed for two years. Two open positions were filled.\n";

const POLICY: &str = "Travel policy\nPage 1\n\nBook the train for journeys under five hours. Keep every receipt.\n";

const DATABASE: &str = r#"{
  "customers": [
    {"id": 1, "name": "Northwind Bakery", "city": "Bremen", "since": 2019},
    {"id": 2, "name": "Halden Instruments", "city": "Halden", "since": 2021}
  ],
  "invoices": [
    {"id": "2026-0041", "customer": 1, "amount": 1250.0, "paid": true},
    {"id": "2026-0042", "customer": 2, "amount": 9800.0, "paid": false}
  ]
}
"#;

/// Writes the sample below `data`, which must not exist yet.
pub(super) fn write(data: &Path) -> io::Result<()> {
    fs::create_dir_all(data.join("files/reports"))?;
    fs::create_dir_all(data.join("files/policies"))?;
    fs::write(data.join("files/reports/q1.txt"), REPORT)?;
    fs::write(data.join("files/policies/travel.txt"), POLICY)?;
    fs::write(data.join("database.json"), DATABASE)
}
