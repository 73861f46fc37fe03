"""MEDEC: is there an error in this clinical note, in which sentence, and how should it read (arXiv:2412.19260)?"""
