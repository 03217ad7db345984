"""The recommendation follows its three rules and says when it still leaks."""

from records import over, record

from bench.sweep.recommend import recommend


def test_least_leakage_that_leaves_the_server_work():
    together = [record("conv1", psnr=30), record("layer1", psnr=22), record("layer2", psnr=20)]
    together.append(record("fc", psnr=14))  # the client would run the whole network
    advice = recommend(together)
    assert advice.split == "layer2"
    assert "20.0 dB" in advice.reason
    assert "7.0 dB above" in advice.warning


def test_a_place_is_judged_by_its_best_attack():
    together = [
        record("conv1", psnr=18),
        record("layer1", psnr=15),
        record("layer1", psnr=25, attack="rmle"),
    ]
    assert recommend(together).split == "conv1"


def test_accuracy_is_kept():
    together = [record("conv1", psnr=18), record("layer1", psnr=15, accuracy=70)]
    assert recommend(together).split == "conv1"


def test_between_floor_and_clear_there_is_no_warning():
    assert recommend([record("conv1", psnr=14)]).warning == ""


def test_a_failed_attack_earns_no_credit():
    failed = record("layer1", psnr=13.2)
    assert recommend([failed]).split is None
    assert "failed" in recommend([failed]).reason
    advice = recommend([record("conv1", psnr=30), failed])
    assert advice.split == "conv1"
    assert "1 left out" in advice.reason


def test_nothing_to_recommend():
    assert recommend([]).split is None
    assert recommend([record("fc")]).split is None


def test_a_link_rules_out_what_takes_more_than_twice_as_long():
    together = [
        over({"lte": 900.0, "wifi": 60.0}, split="layer2", psnr=15),
        over({"lte": 400.0, "wifi": 70.0}, split="layer1", psnr=20),
        over({"lte": 420.0, "wifi": 150.0}, split="conv1", psnr=18),
    ]
    advice = recommend(together)
    assert advice.split == "layer1"
    assert "a request takes 400 ms over lte, 70 ms over wifi" in advice.reason
    assert "(too slow over a link: conv1, layer2)" in advice.reason
    assert "link" not in recommend([record("conv1", psnr=18)]).reason


def test_a_place_that_may_not_be_taken_rules_out_none():
    """The fastest would leave the client the whole network."""
    together = [
        over({"lte": 400.0}, split="layer1", psnr=20),
        over({"lte": 500.0}, split="layer2", psnr=15),
        over({"lte": 50.0}, split="fc", psnr=14),
    ]
    advice = recommend(together)
    assert advice.split == "layer2"
    assert advice.reason.endswith("; a request takes 500 ms over lte")


def test_where_no_place_is_quick_under_every_link_it_is_said():
    together = [
        over({"lte": 900.0, "wifi": 60.0}, split="layer2", psnr=15),
        over({"lte": 400.0, "wifi": 150.0}, split="layer1", psnr=20),
    ]
    advice = recommend(together)
    assert advice.split == "layer2"
    assert "no split point that could be taken is within 2 times the fastest" in advice.reason
    assert "too slow" not in advice.reason
