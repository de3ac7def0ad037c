"""Training a video quality model on scores."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, EvalPrediction, PreTrainedModel, Trainer, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from ..data.collator import QualityCollator
from ..data.schema import QualityScale, get_scale
from ..data.streaming import StreamedVideos
from ..evaluation.intervals import within_content_srcc
from ..evaluation.mapping import fit_score_mapping
from ..evaluation.metrics import figures_of_merit
from ..files import write_text
from ..hub.folder import STALE, write_code, write_model_folder
from ..hub.model_card import model_card
from ..hub.push import make_repository, push_folder
from .arguments import QualityArguments
from .loader_workers import end_workers
from .part_means import PartMeans
from .weighted_loss import QUALITY_PARTS, WeightedLoss


class QualityTrainer(Trainer):
    """
    `Trainer` for a video quality model: a weighted sum of named losses on the 0-1 label scale, the usual figures of
    merit on validation, the best checkpoint by validation SRCC.

    The model's configuration takes over the meaning of the scores from the training data, and after training its
    mapping to the label scale is fitted anew on the validation data, so it always belongs to the weights beside it.
    A checkpoint within training has no mapping: its scores are the raw outputs, which are trained to be labels.

    Logged while training: `loss`, every part without its weight (`regression_loss`, ...), and weights that change
    (`regression_weight`). On validation: `srcc`, `krcc`, `plcc` and `rmse` of the raw outputs (no mapping; `rmse` on
    the 0-1 label scale) and, where the data have a `content_id`, `srcc_within_content`; undefined figures are NaN.

    A row whose `label` is missing, None or NaN has no part in what compares with labels; the mean over the others is
    exact over accumulated batches and processes. Validation figures are those of the labelled rows.

    Args:
        model: takes `pixel_values_videos`, returns `logits` (B, 1) and `quality_features` (B, D).
        args: [`QualityArguments`].
        train_dataset, eval_dataset: data sets as `cvqa.data.load_quality_dataset` makes them, frames cached or not.
        processing_class: the video processor; it is saved beside the model.
        data_collator: makes training batches; by default a [`QualityCollator`], augmenting if `args.augment`.
        eval_data_collator: makes evaluation batches; by default a [`QualityCollator`] without augmentation, or
            `data_collator` if that was given.
        scale: what the scores mean; by default what `train_dataset` says.
        kwargs: passed to `Trainer`.

    Example:

    ```python
    >>> args = QualityArguments("runs/teacher", loss_weights={"regression": 1.0, "rank": 0.3})
    >>> trainer = QualityTrainer(model, args, data["train"], data["validation"], processing_class=processor)
    >>> trainer.train()
    >>> trainer.save_model()  # model, configuration with the fitted mapping, and processor
    ```
    """

    # The loss is the mean over a batch: Trainer is to divide it by the accumulation steps.
    loss_is_scaled_for_ga = False
    loss_parts = QUALITY_PARTS
    collator_class = QualityCollator
    score_names = ("scores",)

    def __init__(
        self,
        model: PreTrainedModel | nn.Module,
        args: QualityArguments,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        data_collator=None,
        eval_data_collator=None,
        scale: QualityScale | None = None,
        **kwargs,
    ):
        if data_collator is None:
            data_collator = self.make_collator(args, processing_class, args.augment)
            eval_data_collator = eval_data_collator or self.make_collator(args, processing_class, "none")
        self.eval_data_collator = eval_data_collator or data_collator
        self.scale = scale
        self.loss = self.make_loss(args)
        self._parts = PartMeans()
        self._content_ids = None
        self._clips_seen = 0
        kwargs.setdefault("compute_metrics", self.compute_figures)
        super().__init__(
            model,
            args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        for follower in (data_collator, train_dataset):
            if hasattr(follower, "set_epoch"):
                self.add_callback(SetEpoch(follower))
        if isinstance(train_dataset, StreamedVideos):
            data_collator.replace_unreadable = True  # what a cache would have left out must not end the training
        if args.early_stopping_patience is not None:
            self.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
        # What `loss_is_scaled_for_ga` says, for transformers 5.17.
        self.model_accepts_loss_kwargs = False

    def make_loss(self, args: QualityArguments) -> WeightedLoss:
        return WeightedLoss(args.loss_weights, self.loss_parts)

    def make_collator(self, args: QualityArguments, processor, augment: str) -> QualityCollator:
        augment = None if augment == "none" else augment
        seed = 0 if args.views else args.seed  # views that are drawn once belong to the data, whoever looks at them
        return self.collator_class(processor, augment=augment, seed=seed, as_uint8=True, views=args.views)

    def models(self) -> tuple[PreTrainedModel, ...]:
        """The models in training; the first is the one that is evaluated, chosen and saved."""
        return (self.unwrapped(),)

    def unwrapped(self) -> nn.Module:
        """The module in training, without what distribution and compilation have put around it."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    # ---- training ----

    def train(self, *args, **kwargs) -> TrainOutput:
        """`Trainer.train`; the models first take over the scale of the scores, and at the end get a mapping to it."""
        scale = self.scale or get_scale(self.train_dataset)
        for model in self.models():
            for name, value in {**scale.as_config(), "score_mapping": None}.items():
                setattr(model.config, name, value)
        if self.is_fsdp_enabled and isinstance(self.model, PreTrainedModel):
            shard_embeddings_once(self.model)
        self._clips_seen = 0
        output = super().train(*args, **kwargs)
        if self.eval_dataset is not None:
            self.fit_score_mapping(self.eval_dataset)
        end_workers(self.accelerator._dataloaders)
        return output

    def fit_score_mapping(self, dataset) -> None:
        """Fit `config.score_mapping` of every model in training to the labels of `dataset` (validation, never test)."""
        output = self.predict(dataset, metric_key_prefix="eval")  # as which trackers are told the figures
        for model, scores in zip(self.models(), as_tuple(output.predictions)):
            model.config.score_mapping = fit_score_mapping(*labelled(scores, output.label_ids))

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches:
            self._weigh(batches)
        return batches, num_items

    def _weigh(self, batches: list[dict]) -> None:
        """Make an accumulated update the mean over its clips, and over its labelled clips, on all processes.

        The last batch of an epoch may be smaller, and some may have more clips without a label than others.
        """
        labels = [labels_of(batch) for batch in batches]
        sizes = [len(each) for each in labels]
        counts = torch.stack([self._known(each) for each in labels])
        totals = self.accelerator.reduce(torch.stack([counts.sum(), counts.new_full((), sum(sizes))]), "sum")
        self._clips_seen += totals[1].long()  # on the device: nobody waits for it
        for batch, size, known in zip(batches, sizes, counts):
            batch["batch_weight"] = size * len(sizes) / sum(sizes)
            batch["label_share"] = known / size * totals[1] / totals[0].clamp_min(1)

    @staticmethod
    def _known(labels: torch.Tensor) -> torch.Tensor:
        """How many labels are known; float32, on the device: nobody waits for it."""
        return (~labels.isnan()).sum(dtype=torch.float32)

    def _prepare_inputs(self, inputs: dict) -> dict:
        inputs = super()._prepare_inputs(inputs)
        clips = inputs["pixel_values_videos"]
        if clips.dtype == torch.uint8:  # scaled and normalised here, where it is fast
            inputs["pixel_values_videos"] = self.processing_class.pixel_values(clips)
        return inputs

    def outputs(self, model: nn.Module, inputs: dict) -> dict[str, torch.Tensor]:
        """The tensors that the losses and the evaluation read, by name."""
        output = model(pixel_values_videos=inputs["pixel_values_videos"])
        return {"scores": output.logits, "features": output.quality_features}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        # The frozen teacher and a model that was never prepared for training need the precision set here.
        with self.accelerator.autocast():
            outputs = self.outputs(model, inputs)
        labels = labels_of(inputs)
        loss, parts = self.loss(
            gather=self._gather_batch,
            progress=self._progress(),
            label_share=inputs.get("label_share", 1.0),
            labels=labels,
            **outputs,
        )
        for name, value in parts.items():
            clips = self._known(labels) if self.loss.parts[name].by_label else len(labels)
            self._parts.add(name, value, clips)
        loss = loss * inputs.get("batch_weight", 1.0)
        return (loss, outputs) if return_outputs else loss

    def _progress(self) -> float:
        """Share of the training that is done."""
        return self.state.global_step / max(self.state.max_steps, 1)

    def _gather_batch(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor of all processes, for losses that compare the clips of a batch: (b, ...) to (n * b, ...)."""
        processes, start = self.accelerator.num_processes, self.accelerator.process_index * len(tensor)
        if processes == 1:
            return tensor
        gathered = self.accelerator.gather(tensor.detach().contiguous())
        # Each process has the gradient of its own clips only, and the mean over processes follows: hence the factor.
        own = tensor.detach() + processes * (tensor - tensor.detach())
        return torch.cat([gathered[:start], own, gathered[start + len(tensor) :]])

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= self._parts.pop(self.accelerator)
            weights = self.loss.weights(self._progress())
            logs |= {f"{name}_weight": weights[name] for name, each in self.loss.schedules.items() if each.varies}
        if "train_runtime" in logs:  # Trainer counts rows, of which an augmentation may make several clips
            logs["train_samples_per_second"] = round(float(self._clips_seen) / logs["train_runtime"], 3)
        super().log(logs, start_time)

    # ---- evaluation ----

    def get_train_dataloader(self) -> DataLoader:
        if not isinstance(self.train_dataset, StreamedVideos):
            return super().get_train_dataloader()
        workers = self.args.dataloader_num_workers
        return self.train_dataset.loader(  # for this process alone, which Accelerate would divide once more
            self.data_collator,
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            persistent_workers=bool(workers and self.args.dataloader_persistent_workers),
        )

    def num_examples(self, dataloader: DataLoader) -> int:
        streamed = dataloader.dataset
        return super().num_examples(dataloader) * (streamed.processes if isinstance(streamed, StreamedVideos) else 1)

    def _get_dataloader(self, *args, is_training: bool = False, **kwargs):
        training_collator = self.data_collator
        if not is_training:
            self.data_collator = self.eval_data_collator
        try:
            return super()._get_dataloader(*args, is_training=is_training, **kwargs)
        finally:
            self.data_collator = training_collator

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Loss, scores (B,) and labels; features stay here, or evaluation would collect those of the whole data set."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        scores = tuple(outputs[name].float().flatten() for name in self.score_names)
        return loss, scores if len(scores) > 1 else scores[0], labels_of(inputs)

    def evaluation_loop(self, dataloader, description, *args, metric_key_prefix="eval", **kwargs) -> EvalLoopOutput:
        training_parts, self._parts = self._parts, PartMeans()
        columns = getattr(dataloader.dataset, "column_names", None) or ()
        self._content_ids = list(dataloader.dataset["content_id"]) if "content_id" in columns else None
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        parts = self._parts.pop(self.accelerator)
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in parts.items()})
        self._parts = training_parts
        return output

    def compute_figures(self, prediction: EvalPrediction) -> dict[str, float]:
        """Figures of merit of the first model's raw outputs."""
        return self._figures(as_tuple(prediction.predictions)[0], prediction.label_ids)

    def _figures(self, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        figures = figures_of_merit(*labelled(scores, labels), mapping="none")
        if self._content_ids is not None:
            known = labelled(scores, labels, np.asarray(self._content_ids))
            figures["srcc_within_content"], _ = within_content_srcc(*known)
        return figures

    # ---- saving ----

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """A plain model folder with its processor. Not the arguments: they hold paths, and they are a pickle."""
        if self.args.should_save:
            self._save_folder(self.models()[0], Path(output_dir or self.args.output_dir), state_dict)

    # ---- publishing ----

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make sure that there is a repository to publish to: `args.hub_model_id`, else named after the output folder.

        With `args.push_to_hub` this is done before training: better refused now than after the work.
        """
        if self.is_world_process_zero():
            self.hub_model_id = make_repository(
                self.args.hub_model_id or Path(self.args.output_dir).resolve().name,
                private=self.args.hub_private_repo if private is None else private,
                token=token or self.args.hub_token,
            )
            self.push_in_progress = None

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs,
    ) -> str | None:
        """Publish the trained model as a folder that stands alone, with its card and the results of its run.

        Args:
            commit_message, token, revision, private: see `cvqa.hub.push.push_folder`; by default those of `args`.
            blocking, kwargs: of `Trainer.push_to_hub`, without effect: it returns when all is published, and the card
                says what the run recorded.

        Returns the URL of the repository, on the main process. Raises `HubError`: nothing was published.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token, private)
        folder = Path(self.args.output_dir)
        self.save_model(str(folder), _internal_call=True)
        if not self.is_world_process_zero():
            return None
        self.create_model_card()
        with tempfile.TemporaryDirectory() as scratch:
            return push_folder(
                write_model_folder(folder, Path(scratch, folder.resolve().name), self.hub_model_id),
                self.hub_model_id,
                token=token or self.args.hub_token,
                revision=revision or self.args.hub_revision,
                commit_message=commit_message or "Upload with cvqa",
                replaces=STALE,
            )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """While training, nothing is published: checkpoints hold what is private, and no results yet."""

    def create_model_card(self, *args, **kwargs) -> None:
        """Write README.md, the card of the model, into the output folder."""
        if self.is_world_process_zero():
            folder = Path(self.args.output_dir)
            write_text(folder / "README.md", model_card(folder, self.hub_model_id or self.args.hub_model_id))

    def _save_folder(self, model: PreTrainedModel, folder: Path, state_dict: dict | None = None) -> None:
        if isinstance(model, FSDPModule):  # of a class made on the fly, which no file has the code of
            plain = next(each for each in type(model).__mro__ if not issubclass(each, FSDPModule))
            with torch.device("meta"):
                model = plain(model.config)
        model.save_pretrained(folder, state_dict=state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)
        write_code(folder)


class SetEpoch(TrainerCallback):
    """Tells the collator, or the data, the epoch: what it draws then depends on nothing else, not on resuming."""

    def __init__(self, collator):
        self.collator = collator

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.collator.set_epoch(int(state.epoch or 0))


def shard_embeddings_once(model: PreTrainedModel) -> None:
    """Accelerate shards the input embeddings of a model by themselves, and fails where they lie in a part that is not
    to be split and so was sharded before: that part then counts as one that may be split."""
    embeddings = model.get_input_embeddings()
    around = {type(module).__name__ for module in model.modules() if embeddings in module.modules()}
    model._no_split_modules = [name for name in model._no_split_modules or () if name not in around]


def as_tuple(predictions) -> tuple[np.ndarray, ...]:
    return predictions if isinstance(predictions, tuple) else (predictions,)


def labels_of(batch: dict) -> torch.Tensor:
    """The labels (B,) of a batch; NaN for what has none."""
    clips = batch["pixel_values_videos"]
    labels = batch.get("labels")
    return torch.full((len(clips),), torch.nan, device=clips.device) if labels is None else labels


def labelled(scores: np.ndarray, labels: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """The rows of these arrays that have a label."""
    known = ~np.isnan(labels)
    return tuple(array[known] for array in (scores, labels, *others))
