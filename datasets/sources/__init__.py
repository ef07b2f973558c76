"""Where clips come from: folders of videos, and clips that are drawn."""
