use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use larder::RateLimited;
use serde_json::json;
use tokio::task::JoinError;

use crate::{
    db::DbError,
    shop::{checkout::CheckoutError, customers::LoginError},
};

/// What a client is told when something went wrong.
pub(super) enum AppError {
    NotFound,
    Db(DbError),
    Login(LoginError),
    Checkout(CheckoutError),
    /// A write that panicked.
    Lost(JoinError),
    /// Something of the page that shows the cache.
    Live(anyhow::Error),
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let (status, said) = match &self {
            Self::NotFound => (StatusCode::NOT_FOUND, "there is none".to_owned()),
            Self::Login(LoginError::Wrong) => {
                (StatusCode::UNAUTHORIZED, LoginError::Wrong.to_string())
            }
            Self::Login(LoginError::Limited(denial)) => return too_many(denial),
            Self::Db(error)
            | Self::Login(LoginError::Db(error))
            | Self::Checkout(CheckoutError::Db(error)) => broken(error),
            Self::Checkout(error) => (checkout(error), error.to_string()),
            Self::Lost(error) => broken(error),
            Self::Live(error) => (StatusCode::CONFLICT, format!("{error:#}")),
        };
        (status, Json(json!({ "error": said }))).into_response()
    }
}

fn checkout(error: &CheckoutError) -> StatusCode {
    match error {
        CheckoutError::Basket => StatusCode::UNPROCESSABLE_ENTITY,
        CheckoutError::Customer => StatusCode::NOT_FOUND,
        CheckoutError::SoldOut { .. } | CheckoutError::OtherPrice { .. } => StatusCode::CONFLICT,
        CheckoutError::Lock(_) | CheckoutError::Db(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// With the headers that say when to try again.
fn too_many(denial: &RateLimited) -> Response {
    let body = Json(json!({ "error": "too many attempts" }));
    let mut response = (StatusCode::TOO_MANY_REQUESTS, body).into_response();
    for (name, value) in denial.headers() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What went wrong is for the log, and not for the client.
fn broken(error: &dyn std::error::Error) -> (StatusCode, String) {
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    eprintln!("{error}{cause}");
    (StatusCode::SERVICE_UNAVAILABLE, "something is broken here".to_owned())
}

impl From<DbError> for AppError {
    fn from(error: DbError) -> Self {
        if error.is_about_what_there_is_not() { Self::NotFound } else { Self::Db(error) }
    }
}

impl From<LoginError> for AppError {
    fn from(error: LoginError) -> Self {
        Self::Login(error)
    }
}

impl From<CheckoutError> for AppError {
    fn from(error: CheckoutError) -> Self {
        Self::Checkout(error)
    }
}

impl From<anyhow::Error> for AppError {
    fn from(error: anyhow::Error) -> Self {
        Self::Live(error)
    }
}
