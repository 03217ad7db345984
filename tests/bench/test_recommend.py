"""The recommendation follows its three rules and says when it still leaks."""

from records import record

from bench.recommend import recommend


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
