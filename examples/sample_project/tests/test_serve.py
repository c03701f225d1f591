"""What the daemon tells systemd, with its code in this very process."""

import threading

from courier import serve


def test_what_has_waited_is_carried_before_it_is_ready(notify_manager, tmp_path):
    manager = notify_manager()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/letter").write_text("hello")
    stop = threading.Event()
    stop.set()  # not a single round
    serve(tmp_path / "in", tmp_path / "out", stop)
    first = manager.messages[0].message
    assert first.get("READY") == "1"
    assert first.get("STATUS") == "1 carried"


def test_its_status_says_how_many(notify_manager, tmp_path):
    manager = notify_manager(watchdog_s=20.0)
    stop = threading.Event()
    thread = threading.Thread(target=serve, args=(tmp_path / "in", tmp_path / "out", stop))
    thread.start()
    try:
        manager.wait_ready(10)
        assert manager.status == "0 carried"
        (tmp_path / "letter").write_text("hello")
        (tmp_path / "letter").rename(tmp_path / "in/letter")
        manager.wait_status("1 carried", 10)
    finally:
        stop.set()
        thread.join()
    assert manager.state == "deactivating"
