"""The hand-over of new weights from the learner to the engines, both ends."""
