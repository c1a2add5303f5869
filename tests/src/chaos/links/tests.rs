//! Each way does to bytes what it was told, and to no other.

use super::*;

/// A server that sends back what it hears, as node 2, with links of two nodes.
async fn echo() -> (Links, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut links = Links::open(2, 1).await.unwrap();
    links._tasks.spawn(async move {
        let mut streams = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            streams.spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    links.set_target(2, address);
    let route = links.routes(1)[&2];
    (links, route)
}

async fn say(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await?;
    Ok(heard)
}

async fn silent(stream: &mut TcpStream) -> bool {
    let hearing = stream.read_u8();
    tokio::time::timeout(Duration::from_millis(150), hearing).await.is_err()
}

#[tokio::test]
async fn what_is_cut_waits_and_comes_when_it_is_healed() {
    for way in [(1, 2), (2, 1)] {
        let (links, route) = echo().await;
        let mut stream = TcpStream::connect(route).await.unwrap();
        assert_eq!(say(&mut stream, b"one").await.unwrap(), b"one");
        links.set(way, Mode::Cut);
        stream.write_all(b"two").await.unwrap();
        assert!(silent(&mut stream).await, "{way:?}");
        // A new connection finds nobody either.
        let mut other = TcpStream::connect(route).await.unwrap();
        other.write_all(b"x").await.unwrap();
        assert!(silent(&mut other).await);
        links.heal();
        let mut heard = [0; 3];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"two");
        assert_eq!(other.read_u8().await.unwrap(), b'x');
    }
}

#[tokio::test]
async fn connections_are_reset_and_made_anew() {
    let (links, route) = echo().await;
    let mut stream = TcpStream::connect(route).await.unwrap();
    assert_eq!(say(&mut stream, b"one").await.unwrap(), b"one");
    links.set((1, 2), Mode::Reset);
    assert!(stream.read_u8().await.is_err());
    links.heal();
    let mut stream = TcpStream::connect(route).await.unwrap();
    assert_eq!(say(&mut stream, b"two").await.unwrap(), b"two");
}

#[tokio::test]
async fn bytes_are_late_and_in_order() {
    let (links, route) = echo().await;
    links.set((1, 2), Mode::Delay { ms: 40, jitter_ms: 20 });
    let mut stream = TcpStream::connect(route).await.unwrap();
    let begun = Instant::now();
    for text in [b"first", b"other", b"third"] {
        assert_eq!(say(&mut stream, text).await.unwrap(), text);
    }
    assert!(begun.elapsed() >= Duration::from_millis(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn bytes_are_changed_and_counted() {
    let (links, route) = echo().await;
    links.set((1, 2), Mode::Corrupt { permille: 1_000 });
    let mut stream = TcpStream::connect(route).await.unwrap();
    let heard = say(&mut stream, &[0; 64]).await.unwrap();
    assert_eq!(heard.iter().map(|byte| byte.count_ones()).sum::<u32>(), 1);
    assert_eq!(links.corrupted(), 1);
}

#[tokio::test]
async fn damage_hits_connections_that_are_open_and_later_ones_are_sound() {
    let (links, route) = echo().await;
    let mut old = TcpStream::connect(route).await.unwrap();
    assert_eq!(say(&mut old, b"one").await.unwrap(), b"one");
    assert_eq!(links.damage((1, 2), Damage::Swallow), 1);
    old.write_all(b"two").await.unwrap();
    assert!(silent(&mut old).await);
    links.heal();
    let mut new = TcpStream::connect(route).await.unwrap();
    assert_eq!(say(&mut new, b"three").await.unwrap(), b"three");
    assert!(silent(&mut old).await);
}
