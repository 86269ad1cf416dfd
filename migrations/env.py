"""What Alembic runs for every command. The connection comes from `migrations.run`, never a file."""

from alembic import context

from service.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
context.run_migrations()  # inside the transaction that `migrations.run` has begun
