"""The Azure calls: tokens used, limits kept, pages followed, answers turned into rows."""
