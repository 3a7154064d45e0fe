//! `weir collect`: the collector itself.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use weir_collector::{
    Access, Collector, ConnectionLimits, Deployment, Limits, LocalStore, RedisOptions, RedisStore, Store, Tokens, serve,
};

#[derive(Debug, Args)]
pub(super) struct Collect {
    /// Address and port to listen on
    #[arg(long, env = "WEIR_COLLECTOR_LISTEN", default_value = "127.0.0.1:10004", value_name = "ADDRESS")]
    listen: SocketAddr,

    /// Redis that keeps the events, such as redis://127.0.0.1:6379/0 (rediss:// with TLS); several addresses of a cluster or
    /// of sentinels are separated by commas. Without it they are kept in --data
    #[arg(long, env = "REDIS_URL", value_name = "URL", value_delimiter = ',', hide_env_values = true)]
    redis_url: Vec<String>,

    /// How Redis is deployed
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_MODE", default_value = "single", value_name = "MODE")]
    redis_mode: Mode,

    /// Name of the master that the sentinels watch
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_SERVICE", default_value = "mymaster", value_name = "NAME")]
    redis_service: String,

    /// Replicas that must have an event before it is acknowledged [default: 0 for a single Redis, else 1]
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_REPLICAS", value_name = "COUNT")]
    redis_replicas: Option<u32>,

    /// Streams over which a new store spreads its senders [default: 16 for a cluster, else 1]
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_SHARDS", value_name = "COUNT")]
    redis_shards: Option<NonZeroUsize>,

    /// File with the certificate, in PEM, that signs those of Redis
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_CA", value_name = "FILE")]
    redis_ca: Option<PathBuf>,

    /// What the keys in Redis begin with; collectors with the same prefix share their events
    #[arg(long, env = "WEIR_COLLECTOR_REDIS_PREFIX", default_value = "weir", value_name = "TEXT")]
    redis_prefix: String,

    /// File that keeps the events where there is no Redis
    #[arg(long, env = "WEIR_COLLECTOR_DATA", default_value = "weir-events.redb", value_name = "FILE")]
    data: PathBuf,

    /// Keep events in memory alone: they are gone when the collector ends
    #[arg(long, conflicts_with_all = ["redis_url", "data"])]
    memory: bool,

    /// How many events a new store keeps; one that is there has its own setting (PUT /v1/settings)
    #[arg(long, env = "WEIR_COLLECTOR_HISTORY", default_value = "1000000", value_name = "COUNT")]
    history: NonZeroU64,

    /// How many bytes of events a new store keeps
    #[arg(long, env = "WEIR_COLLECTOR_HISTORY_BYTES", default_value = "1073741824", value_name = "BYTES")]
    history_bytes: NonZeroU64,

    /// For how many days a new store keeps events
    #[arg(long, env = "WEIR_COLLECTOR_HISTORY_DAYS", default_value = "30", value_name = "DAYS")]
    history_days: NonZeroU64,

    /// Secret with which senders send and people read; --tokens tells them apart
    #[arg(long, env = "WEIR_COLLECTOR_TOKEN", value_name = "SECRET", hide_env_values = true)]
    token: Option<String>,

    /// File with the hashes of tokens and their roles, as `weir token` writes them
    #[arg(long, env = "WEIR_COLLECTOR_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,

    /// Let in everyone who reaches the address, without a token
    #[arg(long, conflicts_with_all = ["token", "tokens"])]
    no_auth: bool,

    /// File with the certificate that visitors are shown, in PEM; with --tls-key
    #[arg(long, env = "WEIR_COLLECTOR_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// File with the key of that certificate, in PEM
    #[arg(long, env = "WEIR_COLLECTOR_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Mode {
    Single,
    Cluster,
    Sentinel,
}

impl Collect {
    pub(super) fn run(&self) -> Result<(), String> {
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal())
            .with_target(false)
            .init();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.map_err(|error| format!("cannot start: {error}"))?.block_on(self.collect())
    }

    async fn collect(&self) -> Result<(), String> {
        let access = self.access()?;
        let tls = self.tls()?;
        let (store, place) = self.store()?;
        let listener = TcpListener::bind(self.listen).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("{} is taken by another program: stop it, or choose another port with --listen", self.listen)
            }
            _ => format!("cannot listen on {}: {error}", self.listen),
        })?;
        let address = listener.local_addr().unwrap_or(self.listen);
        let stop = stop_signal().map_err(|error| format!("cannot wait for signals: {error}"))?;
        if let Err(error) = store.probe().await {
            tracing::warn!("events are refused until the store answers: {error}");
        }
        let (scheme, collector) = match tls {
            Some(_) => ("https", Collector::with_tls(store, access)),
            None => ("http", Collector::new(store, access)),
        };
        tracing::info!("activity page: {scheme}://{address}/ui/activity/live (events are kept in {place})");
        serve(listener, tls, collector, ConnectionLimits::default(), stop).await.map_err(|error| error.to_string())
    }

    fn store(&self) -> Result<(Store, String), String> {
        let limits = Limits {
            events: self.history.get(),
            bytes: self.history_bytes.get(),
            seconds: self.history_days.get().saturating_mul(24 * 60 * 60),
        };
        if self.memory {
            return Ok((Store::Local(Arc::new(LocalStore::in_memory(limits))), "memory".to_owned()));
        }
        if self.redis_url.is_empty() {
            let store =
                LocalStore::on_disk(&self.data, limits).map_err(|error| format!("--data {}: {error}", self.data.display()))?;
            return Ok((Store::Local(Arc::new(store)), self.data.display().to_string()));
        }
        let clustered = self.redis_mode == Mode::Cluster;
        let options = RedisOptions {
            urls: self.redis_url.clone(),
            deployment: match self.redis_mode {
                Mode::Single => Deployment::Single,
                Mode::Cluster => Deployment::Cluster,
                Mode::Sentinel => Deployment::Sentinel { service: self.redis_service.clone() },
            },
            prefix: self.redis_prefix.clone(),
            shards: self.redis_shards.map_or(if clustered { 16 } else { 1 }, NonZeroUsize::get),
            replicas: self.redis_replicas.unwrap_or_else(|| u32::from(self.redis_mode != Mode::Single)),
            ca: self.redis_ca.as_ref().map(std::fs::read).transpose().map_err(|error| format!("--redis-ca: {error}"))?,
        };
        let store = RedisStore::new(&options, limits).map_err(|error| format!("--redis-url: {error}"))?;
        Ok((Store::Redis(Arc::new(store)), "Redis".to_owned()))
    }

    /// Whom these options let in; refuses to show events to other machines by accident.
    fn access(&self) -> Result<Access, String> {
        let mut tokens: Option<Tokens> = None;
        if let Some(token) = &self.token {
            tokens = Some(Tokens::single(token).map_err(|error| format!("--token: {error}"))?);
        }
        if let Some(path) = &self.tokens {
            let text = std::fs::read_to_string(path).map_err(|error| format!("--tokens {}: {error}", path.display()))?;
            let more = Tokens::parse(&text).map_err(|error| format!("--tokens {}: {error}", path.display()))?;
            tokens = Some(tokens.map_or_else(|| more.clone(), |single| single.and(&more)));
        }
        match tokens {
            Some(tokens) => Ok(Access::Tokens(tokens)),
            None if self.no_auth => Ok(Access::Open),
            None if self.listen.ip().is_loopback() => Ok(Access::Loopback),
            None => Err(format!(
                "{} can be reached from other machines: set --token (or WEIR_COLLECTOR_TOKEN) or --tokens, or say --no-auth to let everyone in",
                self.listen
            )),
        }
    }

    fn tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>, String> {
        let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) else { return Ok(None) };
        let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let chain = chain.map_err(|error| format!("--tls-certificate {}: {error}", certificate.display()))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("--tls-key {}: {error}", key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
        config.map(|config| Some(Arc::new(config))).map_err(|error| format!("--tls-certificate: {error}"))
    }
}

/// Ready when the process is asked to end.
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
