"""The description of a comparison and the runs that it stands for."""

import json

import pytest

from cvqa.distillation.experiment import Experiment


def describe(**changes) -> dict:
    return {
        "settings": {"dataset": "ladder", "num_train_epochs": 3, "image_size": 112},
        "teachers": {"B": {"num_train_epochs": 9}},
        "students": {"S": {}, "small": {"model": "Ti", "learning_rate": 1e-3}},
        "arms": {"plain": {"distill": False}, "distilled": {"teacher_mode": "frozen"}},
        "seeds": [0, 1],
        **changes,
    }


def by_name(description: dict) -> dict:
    return {run.name: run for run in Experiment(description).runs()}


def test_students_times_arms_times_seeds_and_one_teacher():
    runs = by_name(describe())
    assert len(runs) == 1 + 2 * 2 * 2
    run = runs["small/distilled/seed1-split0"]
    assert (run.model, run.seed, run.split_seed, run.image_size) == ("Ti", 1, 0, 112)
    assert run.data == {"dataset": "ladder"}
    assert run.training == {"num_train_epochs": 3, "learning_rate": 1e-3, "teacher_mode": "frozen"}
    assert run.teacher == run.needs == "teacher/B/split0"
    assert runs["teacher/B/split0"].training == {"num_train_epochs": 9}
    assert runs["S/plain/seed0-split0"].teacher is None


def test_each_run_follows_the_one_it_needs_and_a_seed_is_finished_before_the_next():
    runs = Experiment(describe()).runs()
    assert runs[0].name == "teacher/B/split0"
    assert [run.seed for run in runs[1:]] == [0] * 4 + [1] * 4
    assert [run.arm for run in runs[1:5]] == ["plain", "plain", "distilled", "distilled"]


def test_what_a_run_without_a_teacher_does_not_know_is_left_out():
    description = describe()
    description["settings"] |= {"stop_gradient": False, "per_device_train_batch_size": 6}
    runs = by_name(description)
    assert "stop_gradient" not in runs["S/plain/seed0-split0"].training
    assert runs["S/distilled/seed0-split0"].training["stop_gradient"] is False


def test_an_arm_of_some_students_against_another_arm():
    arms = {**describe()["arms"], "pulled": {"stop_gradient": False, "students": ["S"], "against": "distilled"}}
    experiment = Experiment(describe(arms=arms))
    assert [run.subject for run in experiment.runs() if run.arm == "pulled"] == ["S", "S"]
    assert {name: arm.against for name, arm in experiment.arms.items()} == {
        "plain": None,
        "distilled": "plain",
        "pulled": "distilled",
    }


def test_an_arm_has_the_teacher_that_it_names_or_the_first():
    arms = {**describe()["arms"], "by_resnet": {"teacher": "resnet", "students": ["S"]}}
    teachers = {"B": {}, "resnet": {"model": "resnet34", "num_train_epochs": 5}, "unused": {"model": "L"}}
    runs = by_name(describe(arms=arms, teachers=teachers))
    assert runs["S/distilled/seed0-split0"].needs == "teacher/B/split0"
    teacher = runs[runs["S/by_resnet/seed1-split0"].needs]
    assert (teacher.name, teacher.subject, teacher.model) == ("teacher/resnet/split0", "resnet", "resnet34")
    assert teacher.training["num_train_epochs"] == 5
    assert len([run for run in runs.values() if run.role == "teacher"]) == 2


def test_every_split_and_every_view_has_its_own_teacher():
    """One that saw the test contents of another split, or other pixels than its student, would not do."""
    arms = {**describe()["arms"], "resized": {"spatial_mode": "resize"}}
    runs = by_name(describe(arms=arms, split_seeds=[0, 7]))
    assert runs["S/distilled/seed0-split7"].needs == "teacher/B/split7"
    resized = runs["S/resized/seed0-split0"].needs
    assert resized not in (None, "teacher/B/split0")
    assert runs[resized].data["spatial_mode"] == "resize"


def test_a_trained_teacher_is_taken_as_it_is_and_tested(tmp_path):
    runs = by_name(describe(teachers={"B": {"model": str(tmp_path)}}))
    assert runs["S/distilled/seed0-split0"].teacher == str(tmp_path)
    assert runs["S/distilled/seed0-split0"].needs is None
    assert not runs["teacher/B/split0"].is_trained


def test_where_data_and_teacher_lie_does_not_make_another_run(tmp_path):
    (tmp_path / "elsewhere" / "teacher").mkdir(parents=True)
    (tmp_path / "teacher").mkdir()
    facts = []
    for folder in (tmp_path, tmp_path / "elsewhere"):
        description = describe(teachers={"own": {"model": str(folder / "teacher")}})
        description["settings"]["data_dir"] = str(folder)
        facts.append([run.facts() for run in Experiment(description).runs()])
    assert facts[0] == facts[1]


def test_a_file_whose_settings_the_command_line_replaces(tmp_path):
    (tmp_path / "experiment.json").write_text(json.dumps(describe()))
    experiment = Experiment.from_file(tmp_path / "experiment.json", "L", data_dir="there")
    run = next(run for run in experiment.runs() if run.is_distilled)
    assert run.data == {"dataset": "ladder", "data_dir": "there"}
    assert next(run for run in experiment.runs() if run.name == run.name and run.role == "teacher").model == "L"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"student": {}}, "the experiment has unknown entries student"),
        ({"students": {}}, "needs 'students'"),
        ({"settings": {"learning_rat": 1}}, "settings has unknown entries learning_rat"),
        ({"arms": {"plain": {"seed": 3}}}, "arm 'plain' has unknown entries seed"),
        ({"students": {"S": {"stop_gradent": True}}}, "student 'S' has unknown entries stop_gradent"),
        ({"teachers": {}}, "needs 'teachers'"),
        ({"arms": {"a": {"distill": False}, "x": {"against": "y"}}}, "arm 'x' is compared with 'y'; arms are a, x"),
        ({"arms": {"a": {"teacher": "L"}}}, "arm 'a' has the teacher 'L'; teachers are B"),
        ({"arms": {"plain": {"students": ["T"]}}}, "arm 'plain' has unknown students T"),
        ({"students": {"a/b": {}}}, "'a/b' cannot be the name"),
        ({"students": {"teacher": {}}}, "'teacher' cannot be the name"),
    ],
)  # fmt: skip
def test_mistakes_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Experiment(describe(**changes))


def test_a_file_that_is_no_experiment(tmp_path):
    path = tmp_path / "experiment.json"
    for text, message in (("{", "is not JSON"), ("[]", "is not a JSON object"), ("{}", "needs 'students'")):
        path.write_text(text)
        with pytest.raises(ValueError, match=f"experiment.json: .*{message}"):
            Experiment.from_file(path)


def test_where_answers_of_a_teacher_are_kept_one_student_asks_and_the_others_come_after():
    arms = {"plain": {"distill": False}, "cached": {"teacher_mode": "cached"}, "frozen": {"teacher_mode": "frozen"}}
    after = {name: run.after for name, run in by_name(describe(arms=arms)).items() if run.after}
    others = ("small/cached/seed0-split0", "S/cached/seed1-split0", "small/cached/seed1-split0")
    assert after == dict.fromkeys(others, "S/cached/seed0-split0")
