//! A connection to Redis, however it is deployed. It is made when it is first used, and made anew when it is lost.

use std::time::Duration;

use redis::aio::{ConnectionLike as _, ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisError,
    TlsCertificates, Value,
};
use tokio::sync::Mutex;

use super::{ANSWER_TIMEOUT, Deployment, RedisOptions};

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What is known of a deployment, and the connection to it.
pub(super) enum Link {
    Single(ConnectionManager),
    Cluster(Box<ClusterClient>, Mutex<Option<ClusterConnection>>),
    Sentinel(Box<Mutex<(SentinelClient, Option<MultiplexedConnection>)>>),
}

impl Link {
    pub(super) fn new(options: &RedisOptions) -> Result<Self, RedisError> {
        let infos = options.urls.iter().map(|url| url.as_str().into_connection_info()).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = infos.first().cloned() else {
            return Err(RedisError::from((redis::ErrorKind::InvalidClientConfig, "no address is given")));
        };
        let certificates = options.ca.clone().map(|ca| TlsCertificates { client_tls: None, root_cert: Some(ca) });
        match &options.deployment {
            Deployment::Single => {
                let client = match certificates {
                    Some(certificates) => Client::build_with_tls(first, certificates)?,
                    None => Client::open(first)?,
                };
                let config = ConnectionManagerConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(Some(ANSWER_TIMEOUT))
                    .set_number_of_retries(1);
                Ok(Self::Single(ConnectionManager::new_lazy_with_config(client, config)?))
            }
            Deployment::Cluster => {
                let mut builder = ClusterClientBuilder::new(infos)
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(ANSWER_TIMEOUT)
                    .retries(3)
                    .max_retry_wait(300);
                if let Some(certificates) = certificates {
                    builder = builder.certs(certificates);
                }
                Ok(Self::Cluster(Box::new(builder.build()?), Mutex::default()))
            }
            Deployment::Sentinel { service } => {
                Ok(Self::Sentinel(Box::new(Mutex::new((sentinel(&first, infos, service, certificates)?, None)))))
            }
        }
    }

    /// Sends one command to the master that has `key`.
    pub(super) async fn ask<T: FromRedisValue>(&self, key: &str, command: Cmd) -> Result<T, RedisError> {
        let answer = match self {
            Self::Single(manager) => manager.clone().req_packed_command(&command).await,
            Self::Cluster(client, slot) => {
                let mut connection = cluster(client, slot).await?;
                let answer = connection.route_command(command, RoutingInfo::SingleNode(master_of(key))).await;
                self.forget_on(&answer).await;
                answer
            }
            Self::Sentinel(slot) => {
                let answer = master(slot).await?.req_packed_command(&command).await;
                self.forget_on(&answer).await;
                answer
            }
        };
        // Errors of the server come as values from some connections.
        Ok(T::from_redis_value(answer?.extract_error()?)?)
    }

    /// Sends commands to the master that has `key`, one behind the other on one connection.
    pub(super) async fn ask_all(&self, key: &str, pipeline: Pipeline) -> Result<Vec<Value>, RedisError> {
        let count = pipeline.len();
        let answers = match self {
            Self::Single(manager) => manager.clone().req_packed_commands(&pipeline, 0, count).await,
            Self::Cluster(client, slot) => {
                let mut connection = cluster(client, slot).await?;
                let answers = connection.route_pipeline(pipeline, 0, count, master_of(key)).await;
                self.forget_on(&answers).await;
                answers
            }
            Self::Sentinel(slot) => {
                let answers = master(slot).await?.req_packed_commands(&pipeline, 0, count).await;
                self.forget_on(&answers).await;
                answers
            }
        };
        answers?.into_iter().map(Value::extract_error).collect()
    }

    /// Gives up a connection that has lost its way, so that the next question looks for the masters anew.
    async fn forget_on<T>(&self, answer: &Result<T, RedisError>) {
        let Err(error) = answer else { return };
        if !(error.is_io_error()
            || error.is_timeout()
            || error.is_cluster_error()
            || error.is_unrecoverable_error()
            || error.code() == Some("READONLY"))
        {
            return;
        }
        match self {
            Self::Single(_) => {}
            Self::Cluster(_, slot) => *slot.lock().await = None,
            Self::Sentinel(slot) => slot.lock().await.1 = None,
        }
    }

    /// Gives up the connection: no answer came in time.
    pub(super) async fn forget(&self) {
        match self {
            Self::Single(_) => {}
            Self::Cluster(_, slot) => *slot.lock().await = None,
            Self::Sentinel(slot) => slot.lock().await.1 = None,
        }
    }
}

fn master_of(key: &str) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
}

async fn cluster(client: &ClusterClient, slot: &Mutex<Option<ClusterConnection>>) -> Result<ClusterConnection, RedisError> {
    let mut slot = slot.lock().await;
    match slot.as_ref() {
        Some(connection) => Ok(connection.clone()),
        None => Ok(slot.insert(client.get_async_connection().await?).clone()),
    }
}

async fn master(slot: &Mutex<(SentinelClient, Option<MultiplexedConnection>)>) -> Result<MultiplexedConnection, RedisError> {
    let mut slot = slot.lock().await;
    let (client, connection) = &mut *slot;
    match connection {
        Some(connection) => Ok(connection.clone()),
        None => {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(ANSWER_TIMEOUT));
            Ok(connection.insert(client.get_async_connection_with_config(&config).await?).clone())
        }
    }
}

/// A client of sentinels; what the address says of user, password and TLS holds for the Redis behind them and for them.
fn sentinel(
    first: &ConnectionInfo,
    infos: Vec<ConnectionInfo>,
    service: &str,
    certificates: Option<TlsCertificates>,
) -> Result<SentinelClient, RedisError> {
    let addresses = infos.iter().map(|info| info.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
    let settings = first.redis_settings();
    builder = builder.set_client_to_redis_db(settings.db());
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user).set_client_to_sentinel_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password).set_client_to_sentinel_password(password);
    }
    if matches!(first.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        builder =
            builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure).set_client_to_sentinel_tls_mode(redis::TlsMode::Secure);
    }
    if let Some(certificates) = certificates {
        builder =
            builder.set_client_to_redis_certificates(certificates.clone()).set_client_to_sentinel_certificates(certificates);
    }
    builder.build()
}
