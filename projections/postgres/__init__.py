"""Read models on PostgreSQL: schema `scrinia_views`, which the server's role owns."""
