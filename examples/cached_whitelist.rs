//! Is reading the whitelist from a cache really faster, on which routes, and by how much?
//!
//! ```text
//! cargo run --release --example cached_whitelist
//! ```
//!
//! A catalogue service on axum and SQLite. Two of its routes need to know what a tenant may see,
//! which is a costly query. A feature flag puts a cache in front of it for half of the requests,
//! and the experiment compares the two halves, route by route. The example then plays its own
//! clients, over real connections, and prints the report.
//!
//! All that the experiment takes is marked with 1, 2 and 3 below.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Path, Query, State};
use axum::http::HeaderValue;
use axum::response::Response;
use axum::{Router, middleware::map_response_with_state, routing::get};
use clap::Parser;
use latency_experiment::{Flag, FlagHandle, LatencyExperiment, Plan, analyze};
use latency_experiment_examples::api::{self, ApiError, Encoded, Page};
use latency_experiment_examples::cache::ExpiringCache;
use latency_experiment_examples::catalogue::Scale;
use latency_experiment_examples::closing::{self, WhereNext};
use latency_experiment_examples::database::Database;
use latency_experiment_examples::options::Options;
use latency_experiment_examples::queries::{self, Tenant, Whitelist};
use latency_experiment_examples::schedule::{Menu, Schedule};
use latency_experiment_examples::server::{self, Server};
use latency_experiment_examples::{Error, load, monitoring, progress};
use tempfile::TempDir;

#[cfg(test)]
mod end_to_end;

/// How long a tenant waits for a change of its contract to show. It also sets how often a request
/// of the variation still pays for the query: with the load below, one in about 160.
const TIME_TO_LIVE: Duration = Duration::from_secs(10);

/// What the handlers share.
#[derive(Clone)]
struct Shop {
    database: Database,
    whitelists: Arc<ExpiringCache<Tenant, Whitelist>>,
    cached_whitelist: FlagHandle,
    /// For `--aa`: the flag is asked as always, but its answer makes no difference.
    same_code: bool,
}

impl Shop {
    /// What a tenant may see. 3: the flag is asked here, where the paths part, on both of them.
    async fn whitelist(&self, tenant: Tenant) -> Result<Arc<Whitelist>, ApiError> {
        let costly = || self.database.whitelist(tenant);
        let whitelist = if self.cached_whitelist.is_on() && !self.same_code {
            self.whitelists.get_or_load(&tenant, costly).await?
        } else {
            Arc::new(costly().await?)
        };
        Ok(whitelist)
    }
}

/// `GET /api/v1/categories`: what the tenant may see.
async fn categories(State(shop): State<Shop>, tenant: Tenant) -> Result<Encoded, ApiError> {
    Ok(Encoded::new(&*shop.whitelist(tenant).await?))
}

/// `GET /api/v1/categories/{id}/products`: products of a category, if the tenant may see it.
async fn products(
    State(shop): State<Shop>,
    tenant: Tenant,
    Path(category): Path<u32>,
    Query(page): Query<Page>,
) -> Result<Encoded, ApiError> {
    let whitelist = shop.whitelist(tenant).await?;
    let max_price_cents = whitelist.category(category).ok_or(ApiError::NotFound)?.max_price_cents;
    let list = move |connection: &_| {
        let rows = queries::products(connection, category, max_price_cents, page.limit())?;
        Ok(Encoded::new(&rows))
    };
    shop.database.run(list).await
}

/// Names the arm in the response, so that the client can measure the arms apart: a second opinion
/// on the report. A service needs no such thing.
async fn name_arm(State(shop): State<Shop>, mut response: Response) -> Response {
    // Only then did the handler ask the flag; to ask it here counts as well.
    if response.status().is_success() {
        let arm = HeaderValue::from_static(shop.cached_whitelist.variation());
        response.headers_mut().insert(load::ARM, arm);
    }
    response
}

fn router(experiment: LatencyExperiment, shop: Shop) -> Router {
    Router::new()
        .route("/api/v1/categories", get(categories))
        .route("/api/v1/categories/{id}/products", get(products))
        .route_layer(map_response_with_state(shop.clone(), name_arm))
        .route("/api/v1/products/{id}", get(api::product))
        .route("/api/v1/export", get(api::export))
        .route("/health", get(|| async { "ok" }))
        .with_state(shop)
        .layer(experiment) // 2: everything above is measured
}

impl FromRef<Shop> for Database {
    fn from_ref(shop: &Shop) -> Self {
        shop.database.clone()
    }
}

/// The service, up and running.
struct Running {
    experiment: LatencyExperiment,
    server: Server,
    menu: Menu,
    /// Holds the database file.
    _folder: TempDir,
}

async fn start(options: &Options, scale: Scale) -> Result<Running, Error> {
    // 1: the flag, split 50:50 on the request ID, and the handle that code below the layer asks.
    let flag = Flag::new("cached_whitelist").with_enabled(!options.flag_off);
    let experiment = LatencyExperiment::new(flag);
    let cached_whitelist = experiment.flag("cached_whitelist")?;

    let folder = tempfile::tempdir()?;
    let database = Database::create(&folder.path().join("catalogue.db"), scale)?;
    let menu = Menu::of(&database, scale.products).await?;
    let whitelists = Arc::new(ExpiringCache::new(database.tenants(), TIME_TO_LIVE));
    let shop = Shop { database, whitelists, cached_whitelist, same_code: options.aa };

    let operators = monitoring::routes(experiment, monitoring::install_prometheus()?);
    let app = router(experiment, shop).merge(operators);
    let server = server::start(options.listen, app).await?;
    Ok(Running { experiment, server, menu, _folder: folder })
}

async fn run(options: &Options, scale: Scale) -> Result<(), Error> {
    let Running { experiment, server, menu, _folder } = start(options, scale).await?;
    let load = if options.serve {
        println!("{}", closing::Addresses(server.address));
        tokio::signal::ctrl_c().await?;
        println!();
        None
    } else {
        let Options { requests, rate, seed, .. } = *options;
        let schedule = Schedule::new(menu, requests, rate, seed);
        println!("Service    http://{}", server.address);
        println!("Load       {schedule}\n");
        Some(progress::watch(load::start(server.address, schedule)?, requests).await?)
    };
    // One snapshot for everything that follows, so that report and files tell the same.
    let snapshot = experiment.snapshot();
    let report = analyze(std::slice::from_ref(&snapshot), &Plan::default())?;
    closing::print_report(options, &report);
    let counts_agree =
        load.map_or(Ok(()), |load| closing::print_client_view(&load.tally, &snapshot));
    closing::write_files(options, &snapshot, &report)?;
    println!("{}", WhereNext(options));
    counts_agree
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.check() {
        Ok(()) => run(&options, Scale::default()).await,
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
