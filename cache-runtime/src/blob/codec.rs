use serde::{Serialize, de::DeserializeOwned};

use super::EncodeError;

/// How values are encoded in Redis.
///
/// Each stored value says how it is encoded: processes of one service may differ, and values in
/// Redis outlive a change of the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// JSON, which any client of Redis can read.
    #[default]
    Json,
    /// [Postcard](https://docs.rs/postcard), which is smaller and several times faster.
    ///
    /// It needs the feature `postcard`. It does not describe itself: a type that uses serde's
    /// `flatten`, `untagged` or `skip_serializing_if`, and `serde_json::Value`, cannot be read
    /// back and is loaded every time. When the fields of a type change, change the `version` of
    /// the function as well. For a type that contains itself use JSON, which bounds the depth.
    Postcard,
}

impl Codec {
    /// The feature that this build lacks for it.
    pub(crate) const fn missing_feature(self) -> Option<&'static str> {
        match self {
            Self::Postcard if !cfg!(feature = "postcard") => Some("postcard"),
            Self::Json | Self::Postcard => None,
        }
    }

    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Json => 0,
            Self::Postcard => 1,
        }
    }

    pub(super) const fn of_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Json),
            1 => Some(Self::Postcard),
            _ => None,
        }
    }
}

/// The payload of a value.
pub(crate) fn encode<T>(codec: Codec, value: &T) -> Result<Vec<u8>, EncodeError>
where
    T: Serialize + ?Sized,
{
    match codec {
        Codec::Json => serde_json::to_vec(value).map_err(|error| EncodeError::Value(error.into())),
        #[cfg(feature = "postcard")]
        Codec::Postcard => {
            postcard::to_allocvec(value).map_err(|error| EncodeError::Value(error.into()))
        }
        #[cfg(not(feature = "postcard"))]
        Codec::Postcard => Err(EncodeError::Feature("postcard")),
    }
}

/// The value of a payload, if it is one of this type to the last byte.
pub(crate) fn decode<T: DeserializeOwned>(codec: Codec, payload: &[u8]) -> Option<T> {
    match codec {
        Codec::Json => serde_json::from_slice(payload).ok(),
        #[cfg(feature = "postcard")]
        Codec::Postcard => match postcard::take_from_bytes(payload) {
            Ok((value, [])) => Some(value),
            _ => None,
        },
        #[cfg(not(feature = "postcard"))]
        Codec::Postcard => None,
    }
}
