//! A first file of a threat analysis, to be read, changed and approved by people.

use super::date::Day;
use std::fmt::Write as _;

/// What is known of the site: LoRaWAN nodes, their network in lpwad, and a server on the same host.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// Id of the analysis.
    pub id: &'a str,
    /// What it is about.
    pub title: &'a str,
    /// The server's address without DTLS.
    pub server: &'a str,
    /// Endpoint names, with `*`.
    pub endpoints: &'a [&'a str],
    /// Day of the review.
    pub reviewed: Day,
    /// Last day.
    pub expires: Day,
    /// Who approves it and accepts what is open.
    pub by: &'a str,
    /// Why the host's clock is right where the kernel does not say so; `None`: the kernel must say so.
    pub clock: Option<&'a str>,
    /// Which test showed that nodes with fixed session keys keep their counters; `None`: there are none.
    pub abp: Option<&'a str>,
    /// Why other users of the host are no risk; `None`: nobody has looked, and there is no NoSec yet.
    pub accept: Option<&'a str>,
    /// Whether NoSec needs DTLS in reserve.
    pub needs_reserve: bool,
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(texts: &[&str]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

impl Draft<'_> {
    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        let Draft { reviewed, expires, .. } = self;
        let (by, report) =
            (list(&[self.by]), if self.abp.is_some() { "\"lorawan\", \"counters\"" } else { "\"lorawan\"" });
        let why = self.accept.unwrap_or("");
        let entry = format!(
            "{{ segment = \"host\", property = \"all\", attacker = \"host-user\", why = {}, by = {by}, expires = {expires} }}",
            quoted(why)
        );
        let accept = match self.accept {
            Some(_) => format!("accept = [\n  {entry},\n]"),
            None => format!("#accept = [\n#  {entry},\n#]"),
        };
        let mut text = format!(
            "schema = 1\nid = {}\ntitle = {}\nmethod = \"STRIDE\"\nreviewed = {reviewed}\nexpires = {expires}\n\
             approved_by = {by}\nfallback = \"{}\"\n\n\
             # The path, in order. Each medium has at least the attackers that stand here.\n\
             segments = [\n  \
             {{ id = \"air\", from = \"node\", to = \"modem\", medium = \"radio\", attackers = [\"radio-passive\", \"radio-active\"] }},\n  \
             {{ id = \"cable\", from = \"modem\", to = \"agent\", medium = \"serial\", attackers = [\"physical\", \"host-user\"] }},\n  \
             {{ id = \"host\", from = \"agent\", to = \"server\", medium = \"loopback\", attackers = [\"host-user\"] }},\n]\n\n\
             # LoRaWAN's keys are in the node and in lpwad, so that its frames are protected on the cable too.\n\
             protections = [\n  \
             {{ kind = \"lorawan-mac\", from = \"node\", to = \"agent\", claims = [\"integrity\", \"replay\", \"authentication\"], evidence = [{report}] }},\n  \
             {{ kind = \"lorawan-app\", from = \"node\", to = \"agent\", claims = [\"confidentiality\"], evidence = [{report}] }},\n  \
             {{ kind = \"loopback\", from = \"agent\", to = \"server\", claims = [\"all\"], evidence = [\"here\"] }},\n]\n\n\
             # Other users of this host can speak to the server as well: somebody must look who they are, and sign that.\n\
             {accept}\n\n\
             [scope]\nendpoints = {}\nserver = {}\n",
            quoted(self.id),
            quoted(self.title),
            if self.needs_reserve { "required" } else { "off" },
            list(self.endpoints),
            quoted(self.server),
        );
        // Writing to a String cannot fail.
        if self.abp.is_some() {
            let _ = writeln!(text, "activation = [\"otaa\", \"abp\"]");
        }
        let _ = writeln!(text, "\n[needs]\nidentity_binding = \"loopback-single-tenant\"");
        if self.clock.is_some() {
            let _ = writeln!(text, "clock = \"attested\"\nclock_evidence = \"clock\"");
        }
        let _ = writeln!(
            text,
            "\n[evidence]\nlorawan = {{ type = \"live\", probe = \"lorawan\" }}\nhere = {{ type = \"live\", probe = \"loopback\" }}"
        );
        let attested = [("clock", "config", self.clock), ("counters", "test-report", self.abp)];
        for (name, kind, reference) in attested.into_iter().filter_map(|(name, kind, text)| Some((name, kind, text?))) {
            let reference = quoted(reference);
            let _ = writeln!(
                text,
                "{name} = {{ type = \"{kind}\", ref = {reference}, date = {reviewed}, expires = {expires} }}"
            );
        }
        text
    }
}
