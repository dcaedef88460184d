"""Token buckets and quotas."""

from pipeline.sandbox.arm.buckets import GLOBAL_FACTOR, Quota, Scopes, TokenBucket


def test_a_bucket_gives_its_size_at_once_and_then_what_comes_back() -> None:
    bucket = TokenBucket(3, 2.0, now_s=0.0)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_s(0.0) == 0.5
    assert bucket.take(0.5)
    assert not bucket.take(0.5)


def test_a_bucket_never_holds_more_than_its_size() -> None:
    bucket = TokenBucket(3, 2.0, now_s=0.0)
    bucket.refill(1000.0)
    assert bucket.remaining == 3


def test_time_that_runs_backwards_gives_nothing() -> None:
    bucket = TokenBucket(1, 1.0, now_s=10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)


def test_scopes_and_principals_do_not_share_their_own_bucket() -> None:
    scopes = Scopes(2, 1.0)
    for scope, principal in [("a", "x"), ("a", "y"), ("b", "x")]:
        waits = [scopes.take(scope, principal, 0.0)[0] for _ in range(3)]
        assert waits == [0, 0, 1]


def test_a_scope_is_throttled_over_all_principals_at_fifteen_times_the_size() -> None:
    scopes = Scopes(2, 1.0)
    taken = sum(
        scopes.take("a", f"principal {i}", 0.0)[0] == 0 for i in range(40) for _ in range(2)
    )
    assert taken == 2 * GLOBAL_FACTOR


def test_the_wait_is_told_in_whole_seconds_rounded_up() -> None:
    scopes = Scopes(1, 0.1)
    scopes.take("a", "x", 0.0)
    assert scopes.take("a", "x", 0.5)[0] == 10


def test_a_quota_comes_back_whole_when_its_window_ends() -> None:
    quota = Quota(2, 5.0, now_s=0.0)
    assert [quota.take(1.0) for _ in range(3)] == [True, True, False]
    assert quota.resets_after_s(1.2) == 4
    assert quota.take(5.0)
    assert quota.remaining == 1
