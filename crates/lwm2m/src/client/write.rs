//! Write, Write-Attributes and Execute (LwM2M Core 1.1.1 §6.3.3 to §6.3.5): everything is checked here, before the caller
//! hears of it; a request has its whole effect or none (D6).

use core::time::Duration;

use super::Client;
use super::dispatch::Served;
use super::server::{SERVER, resource};
use super::state::{ClientEvent, Output};
use crate::coap::block::Block;
use crate::coap::message::{Code, Message, option};
use crate::format::{ContentFormat, DecodeError, decode};
use crate::object::path::Path;
use crate::object::value::Value;

impl Client {
    /// POST: Execute of an executable resource, else a partial update. Create is not supported.
    pub(super) fn post(
        &mut self,
        now: Duration,
        message: &Message,
        block1: Option<Block>,
        path: Path,
        payload: &[u8],
    ) -> Served {
        let (executable, multiple) = match self.target(path) {
            Err(code) => return code.into(),
            Ok(None) if path.instance.is_none() => return Code::METHOD_NOT_ALLOWED.into(),
            Ok(None) => (false, true),
            Ok(Some(resource)) => (resource.executable(), resource.multiple),
        };
        if executable && path.resource_instance.is_none() {
            return self.execute(now, message, block1, path, payload);
        }
        if !multiple || path.resource_instance.is_some() {
            return Code::METHOD_NOT_ALLOWED.into();
        }
        self.write(now, message, block1, path, payload, false)
    }

    /// PUT (replace) or POST (update) of an object instance, a resource or a resource instance.
    pub(super) fn write(
        &mut self,
        now: Duration,
        message: &Message,
        block1: Option<Block>,
        path: Path,
        payload: &[u8],
        replace: bool,
    ) -> Served {
        let writes = match self.checked_writes(message, path, payload, replace) {
            Ok(writes) => writes,
            Err(code) => return code.into(),
        };
        if path.object == SERVER {
            let whole_instance = replace && path.resource.is_none();
            return match self.write_server(&writes, whole_instance) {
                Ok(()) => Code::CHANGED.into(),
                Err(code) => code.into(),
            };
        }
        match self.wait_for_answer(now, message, block1) {
            Ok(exchange) => {
                self.output(Output::Write { exchange, writes, replace });
                Served::Later
            }
            Err(code) => code.into(),
        }
    }

    fn checked_writes(
        &self,
        message: &Message,
        path: Path,
        payload: &[u8],
        replace: bool,
    ) -> Result<Vec<(Path, Value)>, Code> {
        let target = self.target(path)?;
        if path.instance.is_none() || target.is_some_and(|resource| !resource.writable) {
            return Err(Code::METHOD_NOT_ALLOWED);
        }
        let object = self.registry.object(path.object).ok_or(Code::NOT_FOUND)?;
        let number = match (message.uint(option::CONTENT_FORMAT), message.has(option::CONTENT_FORMAT)) {
            (None, true) => return Err(Code::UNSUPPORTED_FORMAT),
            (number, _) => number.unwrap_or(u32::from(ContentFormat::Text.number())),
        };
        let format = ContentFormat::from_number(number).ok_or(Code::UNSUPPORTED_FORMAT)?;
        let writes = decode(format, path, object, payload).map_err(|error| match error {
            DecodeError::Malformed => Code::BAD_REQUEST,
            DecodeError::UnknownResource => Code::NOT_FOUND,
            DecodeError::Unsupported => Code::UNSUPPORTED_FORMAT,
        })?;
        if writes.is_empty() {
            return Err(Code::BAD_REQUEST);
        }
        for (path, value) in &writes {
            let resource = path.resource.and_then(|id| object.resource(id)).ok_or(Code::NOT_FOUND)?;
            if !resource.writable {
                return Err(Code::METHOD_NOT_ALLOWED);
            }
            if !resource.accepts(value) {
                return Err(Code::BAD_REQUEST);
            }
        }
        // D4: a replaced instance keeps its mandatory resources.
        let complete = |id| writes.iter().any(|(path, _)| path.resource == Some(id));
        let mut mandatory = object.resources().iter().filter(|resource| resource.mandatory && resource.writable);
        if replace && path.resource.is_none() && !mandatory.all(|resource| complete(resource.id)) {
            return Err(Code::BAD_REQUEST);
        }
        Ok(writes)
    }

    /// Write-Attributes: PUT with a query and nothing else.
    pub(super) fn write_attributes(&mut self, message: &Message, path: Path) -> Served {
        if let Err(code) = self.target(path) {
            return code.into();
        }
        let Some(arguments) = message.texts(option::URI_QUERY) else { return Code::BAD_REQUEST.into() };
        if self.attributes.write(path, &arguments).is_err() {
            return Code::BAD_REQUEST.into();
        }
        self.save_due = true;
        self.event(ClientEvent::WriteAttributes { path });
        Code::CHANGED.into()
    }

    fn execute(
        &mut self,
        now: Duration,
        message: &Message,
        block1: Option<Block>,
        path: Path,
        payload: &[u8],
    ) -> Served {
        let text = u32::from(ContentFormat::Text.number());
        if message.has(option::CONTENT_FORMAT) && message.uint(option::CONTENT_FORMAT) != Some(text) {
            return Code::UNSUPPORTED_FORMAT.into();
        }
        let Some(arguments) = core::str::from_utf8(payload).ok().filter(|text| are_arguments(text)) else {
            return Code::BAD_REQUEST.into();
        };
        match (path.object, path.resource) {
            (SERVER, Some(resource::UPDATE_TRIGGER)) => {
                self.registration.trigger();
                Code::CHANGED.into()
            }
            (SERVER, Some(resource::DISABLE)) => {
                self.registration.disable();
                Code::CHANGED.into()
            }
            (SERVER, _) => Code::METHOD_NOT_ALLOWED.into(),
            _ => match self.wait_for_answer(now, message, block1) {
                Ok(exchange) => {
                    self.output(Output::Execute { exchange, path, arguments: arguments.into() });
                    Served::Later
                }
                Err(code) => code.into(),
            },
        }
    }
}

/// D7: `0,1='text',2`: a digit each, with a value in quotes or none (LwM2M Core 1.1.1 §6.3.5).
fn are_arguments(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some(behind) = rest.strip_prefix(|c: char| c.is_ascii_digit()) else { return false };
        rest = match behind.strip_prefix("='") {
            Some(value) => match value.split_once('\'') {
                Some((value, behind)) if value.chars().all(|c| c.is_ascii_graphic()) => behind,
                _ => return false,
            },
            None => behind,
        };
        rest = match rest.strip_prefix(',') {
            Some(next) if !next.is_empty() => next,
            None if rest.is_empty() => rest,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d7_grammar_of_arguments() {
        for good in ["", "0", "5", "0,1", "2='10.3'", "7,0='https://www.example.org'", "0,1,2,3,4", "1=''"] {
            assert!(are_arguments(good), "{good}");
        }
        for bad in ["a", "10", "0,", ",0", "0=1", "0='a", "0='a'b", "0 ,1", "0='a b'", "ä"] {
            assert!(!are_arguments(bad), "{bad}");
        }
    }
}
