"""Labels from few examples: VidTAB's eight tasks, each with its own set of labels and 4, 16 or 100 clips of each.

Source: VideoEval (arXiv:2407.06491), whose models are classifiers; here the label is the answer. VideoChat-R1 trains
on one of the tasks, as `quality`.
"""
