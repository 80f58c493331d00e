//! Records can be derived again anywhere, and a changed byte is found.

use super::*;
use crate::policy::record::{BadRecord, Inputs, Record};

fn chain() -> Vec<Record> {
    let text = local("2027-05-02");
    let broken = analyses(&[&text, "schema ="]);
    let good = analyses(&[&text]);
    let site = Site::local();
    let mut records: Vec<Record> = Vec::new();
    for (analyses, latched) in [(&good, None), (&broken, None), (&good, Some("the tunnel was silent"))] {
        let Site { server, credential, facts, today, .. } = &site;
        let case = Case { endpoint: ENDPOINT, server, credential: *credential, facts, today: *today, latched };
        let previous = records.last().map_or_else(String::new, |record| record.hash.clone());
        let number = records.len() as u64 + 1;
        let inputs = Inputs::of(&case, 3, analyses);
        records.push(Record::new(number, Some(1_796_083_200_000), inputs, &decide(&case, analyses), &previous));
    }
    records
}

#[test]
fn a_chain_of_records_gives_the_same_verdicts_again() {
    let records = chain();
    let text: String = records.iter().map(|record| record.to_line() + "\n").collect();
    let again = Record::verify_all(&text).unwrap();
    assert_eq!(again, records);
    let verdicts: Vec<_> = again.iter().map(|record| record.outcome["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["nosec", "dtls-psk", "dtls-psk"]);
    assert_eq!(again[2].outcome["rules"], serde_json::json!(["TA15", "TA12"]));
}

#[test]
fn each_changed_byte_of_a_record_is_found() {
    let line = chain().remove(0).to_line();
    assert!(Record::verify(&line).is_ok());
    let mut found = 0;
    for at in 0..line.len() {
        for bit in [0x01, 0x10] {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= bit;
            // What is no text is found by whoever reads the file.
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(Record::verify(&text).is_err(), "byte {at}");
            found += 1;
        }
    }
    assert!(found > 2 * line.len() - 100);
}

#[test]
fn a_record_that_is_removed_or_forged_with_a_fitting_hash_is_found() {
    let mut records = chain();
    let lines = |records: &[Record]| records.iter().map(|record| record.to_line() + "\n").collect::<String>();
    let gap = [records[0].clone(), records[2].clone()];
    assert_eq!(Record::verify_all(&lines(&gap)).unwrap_err(), (2, BadRecord::Chain(1)));
    // The forger knows how to hash, and what it says does not follow from what it was made of.
    let mut forged = records.remove(1);
    forged.outcome = records[0].outcome.clone();
    forged.hash = String::new();
    forged.hash = crate::policy::file::sha256(forged.to_line().as_bytes());
    assert!(matches!(Record::verify(&forged.to_line()), Err(BadRecord::Outcome(_))));
}

#[test]
fn a_record_says_whether_dates_of_certificates_count_and_one_of_before_is_derived_as_it_was() {
    let record = |server: &Server| {
        let site = Site { credential: Some(DtlsMode::X509), today: None, ..Site::local() };
        let Site { credential, facts, today, .. } = &site;
        let case = Case { endpoint: ENDPOINT, server, credential: *credential, facts, today: *today, latched: None };
        let analyses = analyses(&[]);
        Record::new(1, None, Inputs::of(&case, 1, &analyses), &decide(&case, &analyses), "")
    };
    let anchored = Site::local().server;
    let mut pinned = anchored.clone();
    pinned.dtls.server_certificate = Some(vec![0x30]);
    for (server, verdict, says) in [(anchored, "refuse", true), (pinned, "dtls-x509", false)] {
        let line = record(&server).to_line();
        let verified = Record::verify(&line).unwrap();
        assert_eq!(verified.outcome["verdict"], verdict);
        // Without a word of it, as all records of before: those gave the session.
        assert_eq!(line.contains("dates_count"), says, "{line}");
    }
}
