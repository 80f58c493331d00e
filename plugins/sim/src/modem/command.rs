//! The commands: what a line means and what it does to the settings.

/// Settings of the radio, as they are after a reset.
#[derive(Clone, Debug)]
pub(super) struct Params {
    pub(super) lora: bool,
    pub(super) freq_hz: u32,
    pub(super) sf: u8,
    pub(super) bw_khz: u16,
    pub(super) coding: u8,
    pub(super) preamble: u16,
    pub(super) crc: bool,
    pub(super) iq_inverted: bool,
    pub(super) sync_word: u8,
    pub(super) watchdog_ms: u32,
    pub(super) power_dbm: i8,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            lora: true,
            freq_hz: 868_100_000,
            sf: 12,
            bw_khz: 125,
            coding: 5,
            preamble: 8,
            crc: true,
            iq_inverted: false,
            sync_word: 0x34,
            watchdog_ms: 15_000,
            power_dbm: 1,
        }
    }
}

impl Params {
    pub(super) fn bw_hz(&self) -> u32 {
        u32::from(self.bw_khz) * 1000
    }
}

/// What a line asks for, beyond what [`parse`] does by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Reply(String),
    GetSnr,
    GetRssi,
    Reset,
    Pause,
    Resume,
    Receive { symbols: u16 },
    Transmit(Vec<u8>),
    StopReceiving,
}

/// Reads `line` and applies settings to `params`.
pub(super) fn parse(line: &str, params: &mut Params) -> Order {
    let words: Vec<&str> = line.split(' ').collect();
    let order = match words.as_slice() {
        ["sys", "reset"] => Some(Order::Reset),
        ["sys", "get", "ver"] => Some(Order::Reply(super::VERSION_LINE.into())),
        ["sys", "get", "vdd"] => Some(Order::Reply("3312".into())),
        ["mac", "pause"] => Some(Order::Pause),
        ["mac", "resume"] => Some(Order::Resume),
        ["radio", "rx", symbols] => number(symbols).map(|symbols| Order::Receive { symbols }),
        ["radio", "rxstop"] => Some(Order::StopReceiving),
        ["radio", "tx", data] => {
            lpwad_link::hex::decode(data).ok().filter(|data| (1..=255).contains(&data.len())).map(Order::Transmit)
        }
        ["radio", "get", name] => get(name, params),
        ["radio", "set", name, value] => set(name, value, params).map(|()| Order::Reply("ok".into())),
        _ => None,
    };
    order.unwrap_or_else(|| Order::Reply("invalid_param".into()))
}

fn set(name: &str, value: &str, params: &mut Params) -> Option<()> {
    match name {
        "mod" => params.lora = one_of(value, &[("lora", true), ("fsk", false)])?,
        "freq" => {
            let freq_hz = number(value)?;
            let bands = [433_050_000..=434_790_000, 863_000_000..=870_000_000];
            params.freq_hz = bands.iter().any(|band| band.contains(&freq_hz)).then_some(freq_hz)?;
        }
        "pwr" => params.power_dbm = value.parse().ok().filter(|dbm| (-3..=15).contains(dbm))?,
        "sf" => params.sf = number(value.strip_prefix("sf")?).filter(|sf| (7..=12).contains(sf))?,
        "bw" => params.bw_khz = number(value).filter(|bw| [125, 250, 500].contains(bw))?,
        "cr" => params.coding = number(value.strip_prefix("4/")?).filter(|cr| (5..=8).contains(cr))?,
        "prlen" => params.preamble = number(value)?,
        "crc" => params.crc = one_of(value, &[("on", true), ("off", false)])?,
        "iqi" => params.iq_inverted = one_of(value, &[("on", true), ("off", false)])?,
        "sync" => match lpwad_link::hex::decode(value).ok()?.as_slice() {
            [byte] => params.sync_word = *byte,
            _ => return None,
        },
        "wdt" => params.watchdog_ms = number(value)?,
        _ => return None,
    }
    Some(())
}

fn get(name: &str, params: &Params) -> Option<Order> {
    let on_off = |flag| if flag { "on" } else { "off" };
    Some(Order::Reply(match name {
        "snr" => return Some(Order::GetSnr),
        "rssi" => return Some(Order::GetRssi),
        "mod" => if params.lora { "lora" } else { "fsk" }.into(),
        "freq" => params.freq_hz.to_string(),
        "pwr" => params.power_dbm.to_string(),
        "sf" => format!("sf{}", params.sf),
        "bw" => params.bw_khz.to_string(),
        "cr" => format!("4/{}", params.coding),
        "prlen" => params.preamble.to_string(),
        "crc" => on_off(params.crc).into(),
        "iqi" => on_off(params.iq_inverted).into(),
        "sync" => format!("{:02X}", params.sync_word),
        "wdt" => params.watchdog_ms.to_string(),
        _ => return None,
    }))
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn one_of(value: &str, choices: &[(&str, bool)]) -> Option<bool> {
    choices.iter().find(|(name, _)| *name == value).map(|(_, flag)| *flag)
}
