//! Write (LwM2M Core 1.1.1 §6.3.4): all checks before anything happens, so that a refused request has no effect.

use core::time::Duration;

use super::Client;
use super::dispatch::Origin;
use super::server::SERVER;
use super::state::Output;
use crate::coap::message::Code;
use crate::format::{self, ContentFormat, DecodeError};
use crate::object::definition::ObjectDefinition;
use crate::object::path::Path;
use crate::object::value::Value;

impl Client {
    /// PUT replaces, POST updates partially (D4, D5, D6). `Ok(None)`: the caller will answer.
    pub(super) fn write(
        &mut self,
        now: Duration,
        origin: Origin,
        target: Path,
        format: Option<u32>,
        body: &[u8],
        replace: bool,
    ) -> Result<Option<Code>, Code> {
        let writes = self.check_write(target, format, body, replace)?;
        if target.object == SERVER {
            self.write_server(&writes, replace && target.resource.is_none())?;
            return Ok(Some(Code::CHANGED));
        }
        let exchange = self.open_exchange(now, origin)?;
        self.output(Output::Write { exchange, writes, replace });
        Ok(None)
    }

    fn check_write(
        &self,
        target: Path,
        format: Option<u32>,
        body: &[u8],
        replace: bool,
    ) -> Result<Vec<(Path, Value)>, Code> {
        let object = self.registry.object(target.object).filter(|_| self.tree.has_object(target.object));
        let object = object.ok_or(Code::NOT_FOUND)?;
        // An object alone is the target of Create (POST), which nodes do not have, or of a bootstrap server (PUT).
        let instance = target.instance.ok_or(Code::METHOD_NOT_ALLOWED)?;
        if !self.tree.has_instance(target.object, instance) {
            return Err(Code::NOT_FOUND);
        }
        if let Some(id) = target.resource {
            let resource = object.resource(id).ok_or(Code::NOT_FOUND)?;
            let several = resource.multiple && target.resource_instance.is_none();
            if !resource.writable || (!replace && !several) {
                return Err(Code::METHOD_NOT_ALLOWED);
            }
        }
        let format = match format {
            None => ContentFormat::Text,
            Some(number) => ContentFormat::from_number(number).ok_or(Code::UNSUPPORTED_FORMAT)?,
        };
        let writes = format::decode(format, target, object, body).map_err(|error| match error {
            DecodeError::Malformed => Code::BAD_REQUEST,
            DecodeError::UnknownResource => Code::NOT_FOUND,
            DecodeError::Unsupported => Code::UNSUPPORTED_FORMAT,
        })?;
        check_values(object, &writes)?;
        let one_value = target.resource_instance.is_some()
            || target.resource.and_then(|id| object.resource(id)).is_some_and(|resource| !resource.multiple);
        if one_value && writes.len() != 1 {
            return Err(Code::BAD_REQUEST);
        }
        if replace && target.resource.is_none() {
            let written = |id| writes.iter().any(|(path, _)| path.resource == Some(id));
            let missing = |id: u16, needed: bool| needed && !written(id);
            if object.resources().iter().any(|resource| missing(resource.id, resource.mandatory && resource.writable)) {
                return Err(Code::BAD_REQUEST);
            }
            // D4 would remove what is not written; a node cannot unset a value.
            let unset = self.tree.under(target).iter().filter(|entry| entry.value.is_some()).any(|entry| {
                entry.path.resource.is_some_and(|id| missing(id, object.resource(id).is_some_and(|r| r.writable)))
            });
            if unset && target.object != SERVER {
                return Err(Code::METHOD_NOT_ALLOWED);
            }
        }
        Ok(writes)
    }
}

/// Every value goes to a writable resource, in its range, once.
fn check_values(object: &ObjectDefinition, writes: &[(Path, Value)]) -> Result<(), Code> {
    for (index, (path, value)) in writes.iter().enumerate() {
        let resource = path.resource.and_then(|id| object.resource(id)).ok_or(Code::NOT_FOUND)?;
        if !resource.writable {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        let twice = writes.iter().take(index).any(|(earlier, _)| earlier == path);
        let wrong_depth = resource.multiple != path.resource_instance.is_some();
        if twice || wrong_depth || !resource.accepts(value) {
            return Err(Code::BAD_REQUEST);
        }
    }
    Ok(())
}
