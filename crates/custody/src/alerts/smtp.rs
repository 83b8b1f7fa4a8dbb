//! Mail: plain text over SMTP.

use super::{
    Alert,
    channels::{ChannelConfig, ChannelError, Kind, Refusal, Send},
    http::loopback,
};
use crate::{causes::chain, config::Tls};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    address::Envelope,
    message::{
        Mailbox,
        header::{ContentType, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls as Protection, TlsParameters},
    },
};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// `kind = "smtp"`: `server`, `from`, `to`, and optionally `port`, `tls`, `username`, `password_env`, `ca_file`.
pub const KIND: Kind = Kind { name: "smtp", open };

struct Mail {
    server: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    envelope: Envelope,
    transport: AsyncSmtpTransport<Tokio1Executor>,
    password: Option<Zeroizing<String>>,
}

fn open(config: &ChannelConfig) -> Result<Box<dyn Send>, ChannelError> {
    let server = config.needed("server", &config.server)?;
    let mailbox = |field, text: &str| text.parse::<Mailbox>().map_err(|e| config.wrong(field, format!("is not a mail address: {e}")));
    let from = mailbox("from", config.needed("from", &config.from)?)?;
    let to = config.to.iter().map(|text| mailbox("to", text)).collect::<Result<Vec<_>, _>>()?;
    let envelope = Envelope::new(Some(from.email.clone()), to.iter().map(|m| m.email.clone()).collect())
        .map_err(|_| config.wrong("to", "is needed"))?;
    let (protection, usual_port) = protection(config, server)?;
    let port = config.port.unwrap_or(usual_port);
    let password = config.secret("password_env", config.password.as_ref())?;
    // The whole attempt has a deadline of its own; this one bounds a single command.
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server).port(port).tls(protection).timeout(Some(Duration::from_secs(10)));
    match (&config.username, &password) {
        (Some(user), Some(password)) => transport = transport.credentials(Credentials::new(user.clone(), password.to_string())),
        (None, None) => {}
        (Some(_), None) => return Err(config.wrong("password_env", "is needed with username")),
        (None, Some(_)) => return Err(config.wrong("username", "is needed with password_env")),
    }
    Ok(Box::new(Mail { server: format!("{server}:{port}"), from, to, envelope, transport: transport.build(), password }))
}

/// Never opportunistic: what is configured is done, or nothing is sent.
fn protection(config: &ChannelConfig, server: &str) -> Result<(Protection, u16), ChannelError> {
    let kind = config.tls.unwrap_or(if loopback(server) { Tls::None } else { Tls::Starttls });
    if kind == Tls::None {
        return if loopback(server) {
            Ok((Protection::None, 25))
        } else {
            Err(config.wrong("tls", "can be `none` only for a server on this machine"))
        };
    }
    let mut parameters = TlsParameters::builder(server.to_owned());
    if let Some(path) = &config.ca_file {
        let pem =
            std::fs::read(path).map_err(|source| ChannelError::Unreadable { name: config.name.clone(), path: path.clone(), source })?;
        let roots = Certificate::from_pem(&pem).map_err(|e| config.wrong("ca_file", format!("can not be used: {e}")))?;
        parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(roots);
    }
    let parameters = parameters.build_rustls().map_err(|e| config.wrong("server", format!("can not be used with TLS: {}", chain(&e))))?;
    Ok(match kind {
        Tls::Tls => (Protection::Wrapper(parameters), 465),
        Tls::Starttls | Tls::None => (Protection::Required(parameters), 587),
    })
}

impl Send for Mail {
    fn to(&self) -> String {
        let receivers: Vec<_> = self.to.iter().map(|mailbox| mailbox.email.to_string()).collect();
        format!("{} via {}", receivers.join(", "), self.server)
    }

    /// lettre encodes every header; the parts of the subject are on one line before that.
    fn compose(&self, alert: &Alert) -> Result<Vec<u8>, String> {
        let seconds = u64::try_from(alert.at.as_second()).unwrap_or_default();
        let id = format!("<{}.{}.{}>", alert.case, alert.at.as_nanosecond(), self.from.email);
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into());
        let mut message = Message::builder()
            .from(self.from.clone())
            .subject(alert.subject())
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .message_id(Some(id))
            .raw_header(automatic)
            .header(ContentType::TEXT_PLAIN);
        for receiver in &self.to {
            message = message.to(receiver.clone());
        }
        message.body(alert.text()).map(|message| message.formatted()).map_err(|e| e.to_string())
    }

    fn attempt<'a>(&'a self, message: &'a [u8], _now: Timestamp) -> BoxFuture<'a, Result<String, Refusal>> {
        Box::pin(async move {
            match self.transport.send_raw(&self.envelope, message).await {
                Ok(answer) => Ok(format!("{} {}", answer.code(), answer.message().collect::<Vec<_>>().join(" "))),
                // A 5xx answer is final. What the server can not do (STARTTLS, a login mechanism) does not come by waiting.
                Err(error) if error.is_permanent() || error.is_client() => Err(Refusal::last(chain(&error))),
                Err(error) => Err(Refusal::passing(chain(&error))),
            }
        })
    }

    fn secrets(&self) -> Vec<&str> {
        self.password.iter().map(|password| password.as_str()).collect()
    }
}
