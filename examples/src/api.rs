//! Requests and responses of the catalogue service, and the routes that no experiment is about.

use axum::extract::{FromRef, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::database::Database;
use crate::queries::{self, Tenant};

/// The header that names the tenant.
pub const TENANT: &str = "x-tenant";

/// How many products a listing shows unless asked otherwise.
const PAGE: u32 = 50;
/// How many products an export has.
const EXPORT: u32 = 2_000;

/// Why a request is refused.
#[derive(Debug)]
pub enum ApiError {
    /// The tenant header is missing or names none.
    NoTenant,
    /// There is no such thing, or the tenant may not see it.
    NotFound,
    /// The catalogue can't be read.
    Database(rusqlite::Error),
}

/// How much of a listing is wanted.
#[derive(Debug, Deserialize)]
pub struct Page {
    limit: Option<u32>,
}

/// JSON that was encoded off the async threads, because it may be large.
pub struct Encoded(Vec<u8>);

impl Page {
    /// The number of products at most.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE)
    }
}

impl Encoded {
    /// Encodes a value.
    ///
    /// # Panics
    ///
    /// When JSON has no form for the value; it has one for all rows.
    pub fn new<T: Serialize>(value: &T) -> Self {
        Self(serde_json::to_vec(value).expect("JSON has a form for all rows"))
    }
}

/// `GET /api/v1/products/{id}`: one row by its key.
pub async fn product(
    State(database): State<Database>,
    Path(id): Path<u32>,
) -> Result<Encoded, ApiError> {
    let product = database.run(move |connection| queries::product(connection, id)).await?;
    product.map(|product| Encoded::new(&product)).ok_or(ApiError::NotFound)
}

/// `GET /api/v1/export`: more than a megabyte of products for a partner's import.
pub async fn export(State(database): State<Database>) -> Result<Encoded, ApiError> {
    let encode = |connection: &_| Ok(Encoded::new(&queries::newest(connection, EXPORT)?));
    database.run(encode).await
}

impl<S> FromRequestParts<S> for Tenant
where
    S: Sync,
    Database: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let id = parts.headers.get(TENANT).and_then(|value| value.to_str().ok()?.parse().ok());
        id.and_then(|id| Database::from_ref(state).tenant(id)).ok_or(ApiError::NoTenant)
    }
}

impl IntoResponse for Encoded {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::NoTenant => (StatusCode::BAD_REQUEST, "header x-tenant must name a tenant"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not found"),
            Self::Database(error) => {
                eprintln!("the catalogue can't be read: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "the catalogue can't be read")
            }
        };
        (status, text).into_response()
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}
