//! How many connections there are, how long they live, and how they come to be.

use super::*;

#[tokio::test]
async fn no_more_connections_than_allowed_and_each_in_its_turn() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let (first, second) = (client.slot().await, client.slot().await);
    let soon = Instant::now() + Duration::from_millis(10);
    let failure = client.upstream.slot(&client.mailbox, soon).await.unwrap_err();
    assert_eq!((failure.reason, failure.step), (Reason::Busy(2), Step::Connect));
    drop(first);
    client.slot().await;
    drop(second);
}

#[tokio::test]
async fn a_changed_configuration_closes_the_former_connections() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let server = async {
        let mut peer = provider.accept(NO_CHUNKING).await;
        peer.take_by_data(1).await;
        peer.line().await
    };
    let sending = async {
        client.send(1, Policy::Each).await.unwrap();
        let changed = Arc::new(Mailbox { xoauth2_user: "other@example.com".into(), ..mailbox(&provider) });
        client.upstream.slot(&changed, Instant::now() + Duration::from_secs(10)).await.unwrap().is_warm()
    };
    assert_eq!(tokio::join!(server, sending), ("QUIT".to_owned(), false));
}

#[tokio::test]
async fn a_connection_is_replaced_after_its_messages_and_before_its_token_ends() {
    for (limit, expires) in [(1, in_an_hour()), (0, SystemTime::now())] {
        let provider = Simulated::start().await;
        let mut mailbox = mailbox(&provider);
        mailbox.limits.messages_per_connection = limit;
        let client = Client::with(mailbox);
        let server = async {
            let mut peer = provider.accept(NO_CHUNKING).await;
            peer.take_by_data(1).await;
            peer.line().await
        };
        let sending = async {
            let mut slot = client.slot().await;
            slot.login(&Secret::new(TOKEN.into()), expires).await.unwrap();
            slot.send(&envelope(1), &body(), Policy::Each, &Progress::new()).await.unwrap();
            client.slot().await.is_warm()
        };
        assert_eq!(tokio::join!(server, sending), ("QUIT".to_owned(), false));
    }
}

#[tokio::test]
async fn what_rests_is_closed_at_the_end() {
    let provider = Simulated::start().await;
    let client = Client::of(&provider);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let server = async {
        let mut peer = provider.accept(NO_CHUNKING).await;
        peer.take_by_data(1).await;
        peer.line().await
    };
    let sending = async {
        client.send(1, Policy::Each).await.unwrap();
        stop.send(true).unwrap();
    };
    let (line, (), ()) = tokio::join!(server, sending, client.upstream.clone().run(stopped));
    assert_eq!(line, "QUIT");
}

#[tokio::test]
async fn a_dead_address_costs_no_more_than_a_moment() {
    // A full backlog does not answer: the first address hangs as a dead IPv6 route does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = socket.listen(1).unwrap();
    let mut filling = Vec::new();
    let attempt = || tokio::time::timeout(Duration::from_millis(50), tokio::net::TcpStream::connect(dead.local_addr().unwrap()));
    while let Ok(connected) = attempt().await {
        filling.push(connected.unwrap());
    }
    let alive = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let begun = Instant::now();
    let addresses = VecDeque::from([dead.local_addr().unwrap(), alive.local_addr().unwrap()]);
    let tcp = connect::race(addresses).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1) && tcp.nodelay().unwrap());
    assert_eq!(tcp.peer_addr().unwrap(), alive.local_addr().unwrap());
}

#[tokio::test]
async fn a_refused_connection_and_a_missing_ca_say_what_to_check() {
    let provider = Simulated::start().await;
    let mut mailbox = mailbox(&provider);
    let _authority = provider.close();
    let advice = |failure: &Failure| failure.advice().map_or("", |advice| advice.name);
    let failure = Client::with(mailbox.clone()).login().await.unwrap_err();
    assert!(failure.step == Step::Connect && advice(&failure) == "connection-refused", "{failure}");
    mailbox.ca_file = Some("/nonexistent.pem".into());
    let failure = Client::with(mailbox).login().await.unwrap_err();
    assert!(failure.to_string().contains("ca-file") && advice(&failure) == "tls-ca-file", "{failure}");
}
