//! The Server object of the one server account, `/1/0` (LwM2M Core 1.1.1 Appendix E.2).

use super::Client;
use super::state::{ClientConfig, Snapshot};
use crate::coap::message::Code;
use crate::object::path::Path;
use crate::object::tree::Freshness;
use crate::object::value::Value;

/// Object id of the Server object.
pub(super) const SERVER: u16 = 1;
/// Object id of the Device object.
pub(super) const DEVICE: u16 = 3;

/// Resources of the Server object.
pub(super) mod resource {
    pub(in crate::client) const SHORT_SERVER_ID: u16 = 0;
    pub(in crate::client) const LIFETIME: u16 = 1;
    pub(in crate::client) const DEFAULT_PMIN: u16 = 2;
    pub(in crate::client) const DEFAULT_PMAX: u16 = 3;
    pub(in crate::client) const DISABLE: u16 = 4;
    pub(in crate::client) const DISABLE_TIMEOUT: u16 = 5;
    pub(in crate::client) const STORING: u16 = 6;
    pub(in crate::client) const BINDING: u16 = 7;
    pub(in crate::client) const UPDATE_TRIGGER: u16 = 8;
    pub(in crate::client) const MUTE_SEND: u16 = 23;
}

/// The only binding of this client: UDP. Queue mode is not part of it in LwM2M 1.1.
pub(super) const BINDING: &str = "U";
/// Default of `/1/0/5`, seconds.
const DISABLE_TIMEOUT_S: u32 = 86_400;

/// What the server can set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ServerSettings {
    pub(super) lifetime_s: u32,
    pub(super) default_pmin_s: u32,
    pub(super) default_pmax_s: u32,
    pub(super) disable_timeout_s: u32,
    pub(super) mute_send: bool,
}

/// What the operator wants, as it stands in a snapshot.
pub(super) fn configured(config: &ClientConfig) -> (u32, u32, u32) {
    (config.lifetime_s, config.default_pmin_s, config.default_pmax_s)
}

impl ServerSettings {
    pub(super) fn new(config: &ClientConfig, restored: Option<&Snapshot>) -> ServerSettings {
        match restored.filter(|snapshot| snapshot.configured_s == configured(config)) {
            Some(snapshot) => ServerSettings {
                lifetime_s: snapshot.lifetime_s.max(1),
                default_pmin_s: snapshot.default_pmin_s,
                default_pmax_s: snapshot.default_pmax_s,
                disable_timeout_s: snapshot.disable_timeout_s,
                mute_send: snapshot.mute_send,
            },
            None => ServerSettings {
                lifetime_s: config.lifetime_s.max(1),
                default_pmin_s: config.default_pmin_s,
                default_pmax_s: config.default_pmax_s,
                disable_timeout_s: DISABLE_TIMEOUT_S,
                mute_send: false,
            },
        }
    }

    /// All values or none. Refused with 4.00: another binding than UDP, and another storing behaviour than the configured one,
    /// because this client would not keep its word.
    fn write(&mut self, config: &ClientConfig, writes: &[(Path, Value)], replace: bool) -> Result<(), Code> {
        let mut changed = *self;
        if replace {
            changed.default_pmin_s = 0;
            changed.default_pmax_s = 0;
            changed.disable_timeout_s = DISABLE_TIMEOUT_S;
            changed.mute_send = false;
        }
        for (path, value) in writes {
            let seconds = || match value {
                Value::Integer(number) => u32::try_from(*number).map_err(|_| Code::BAD_REQUEST),
                _ => Err(Code::BAD_REQUEST),
            };
            match (path.resource, value) {
                (Some(resource::LIFETIME), _) => changed.lifetime_s = seconds()?,
                (Some(resource::DEFAULT_PMIN), _) => changed.default_pmin_s = seconds()?,
                (Some(resource::DEFAULT_PMAX), _) => changed.default_pmax_s = seconds()?,
                (Some(resource::DISABLE_TIMEOUT), _) => changed.disable_timeout_s = seconds()?,
                (Some(resource::MUTE_SEND), Value::Boolean(mute)) => changed.mute_send = *mute,
                (Some(resource::STORING), Value::Boolean(storing)) if *storing == config.storing => {}
                (Some(resource::BINDING), Value::String(binding)) if binding == BINDING => {}
                (Some(resource::STORING | resource::BINDING | resource::MUTE_SEND), _) => {
                    return Err(Code::BAD_REQUEST);
                }
                _ => return Err(Code::NOT_FOUND),
            }
        }
        *self = changed;
        Ok(())
    }
}

impl Client {
    /// Creates `/1/0` and the resources of `/3/0` that object 3 makes mandatory.
    pub(super) fn create_core_objects(&mut self) {
        for (object, instance) in [(SERVER, 0), (DEVICE, 0)] {
            let added = self.tree.add_instance(object, instance);
            debug_assert_eq!(added, Ok(true));
        }
        let at = |resource| Path::resource(SERVER, 0, resource);
        let fixed = [
            (at(resource::SHORT_SERVER_ID), Some(Value::Integer(i64::from(self.config.short_server_id)))),
            (at(resource::DISABLE), None),
            (at(resource::STORING), Some(Value::Boolean(self.config.storing))),
            (at(resource::BINDING), Some(Value::String(BINDING.into()))),
            (Path::resource_instance(DEVICE, 0, 11, 0), Some(Value::Integer(0))),
            (Path::resource(DEVICE, 0, 16), Some(Value::String(BINDING.into()))),
        ];
        for (path, value) in fixed {
            self.store(path, value, Freshness::Static, None);
        }
        self.publish_settings();
    }

    /// A checked Write to `/1/0`.
    pub(super) fn write_server(&mut self, writes: &[(Path, Value)], replace: bool) -> Result<(), Code> {
        self.settings.write(&self.config, writes, replace)?;
        self.publish_settings();
        self.save_due = true;
        Ok(())
    }

    fn publish_settings(&mut self) {
        let ServerSettings { lifetime_s, default_pmin_s, default_pmax_s, disable_timeout_s, mute_send } = self.settings;
        for (id, seconds) in [
            (resource::LIFETIME, lifetime_s),
            (resource::DEFAULT_PMIN, default_pmin_s),
            (resource::DEFAULT_PMAX, default_pmax_s),
            (resource::DISABLE_TIMEOUT, disable_timeout_s),
        ] {
            let value = Some(Value::Integer(i64::from(seconds)));
            self.store(Path::resource(SERVER, 0, id), value, Freshness::Static, None);
        }
        let mute = Path::resource(SERVER, 0, resource::MUTE_SEND);
        self.store(mute, Some(Value::Boolean(mute_send)), Freshness::Static, None);
    }
}
