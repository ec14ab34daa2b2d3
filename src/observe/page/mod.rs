//! The shutdown report as one page of HTML: nothing is fetched and no script runs, so that it can be
//! mailed, kept and printed.

mod axis;
mod html;
mod orders;
mod summary;
mod tables;
mod timeline;

use std::fmt::Write as _;

use crate::report::ShutdownReport;
use html::{capital, spaced};

const STYLE: &str = include_str!("style.css");

/// The whole page. `run` is the run's number in the state database, where it is known.
///
/// Whatever exchanges, hooks or commands said is shown as text: it can neither add elements to the
/// page nor have a browser run or fetch something.
pub fn report_page(report: &ShutdownReport, run: Option<i64>) -> String {
    let mut page = String::new();
    _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n<title>{}, exit code {}: shutdown of {:.0}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n",
        capital(&spaced(report.outcome.as_str())),
        report.outcome.exit_code(),
        report.started
    );
    summary::verdict(&mut page, report, run);
    page.push_str("<main>\n");
    summary::figures(&mut page, report);
    timeline::timeline(&mut page, report);
    orders::orders(&mut page, report);
    tables::positions(&mut page, report);
    tables::alerts(&mut page, report);
    tables::failures(&mut page, report);
    tables::connections(&mut page, report);
    tables::switches(&mut page, report);
    tables::hooks(&mut page, report);
    tables::phases(&mut page, report);
    tables::state(&mut page, report);
    _ = write!(
        page,
        "</main>\n<footer><p>Times count from the beginning of the shutdown. The same as JSON: \
         <code>exchange-gateway report --json</code>. Written by exchange-gateway {}.</p></footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}
