//! Refusals as HTTP answers.

use axum::Json;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use crate::protocol::{ApiError, ErrorCode};

/// An [`ApiError`] on its way out.
pub struct Refusal(pub ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl Refusal {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(ApiError::new(code, message))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

pub async fn no_route(uri: Uri) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no route {}", uri.path()))
}

pub async fn no_method(method: Method, uri: Uri) -> Response {
    let error =
        ApiError::new(ErrorCode::BadRequest, format!("{} does not take {method}", uri.path()));
    (StatusCode::METHOD_NOT_ALLOWED, Json(error)).into_response()
}
